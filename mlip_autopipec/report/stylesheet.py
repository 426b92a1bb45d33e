"""The report's style sheet: calm, light or dark as the reader's system has it, and fit to print."""

from mlip_autopipec.report.canvas import GRID, INK, MUTED

#: What figures are drawn in → what it becomes on a dark page. Figures keep their own colours when
#: copied out.
_DARK = {INK: "#e6e8eb", MUTED: "#9aa2ac", GRID: "#343a43"}

_PAGE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1f2328; --quiet: #59616b; --line: #d9dde3;
  --card: #f5f6f8; --good: #00664a; --bad: #a84300;
  --amber: #8a5a00; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 62rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; font-weight: 650; }
h2 { font-size: 1.25rem; margin: 3rem 0 .4rem; font-weight: 650; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.quiet, figcaption, footer { color: var(--quiet); font-size: .9rem; }
.reason { font-size: 1.1rem; }
.converged, .met { color: var(--good); } .failed, .stalled, .budget_exhausted { color: var(--bad); }
.inaccurate, .unmet { color: var(--amber); }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1.5rem 0; }
.numbers div { background: var(--card); border-radius: .5rem; padding: .7rem .9rem; }
.numbers dt { color: var(--quiet); font-size: .82rem; }
.numbers dd { margin: 0; font-size: 1.3rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.numbers dd small { font-size: .8rem; font-weight: 400; color: var(--quiet); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; font-size: .9rem; border-top: 1px solid var(--line);
  border-bottom: 1px solid var(--line); padding: .5rem 0; }
a { color: inherit; text-underline-offset: .2em; }
figure { margin: 1rem 0; }
figure svg { display: block; width: 100%; height: auto; }
figure svg * { stroke-linejoin: round; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; min-width: 60%; }
th, td { padding: .3rem .8rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--quiet); vertical-align: bottom; }
th.text, td.text { text-align: left; }
td.text { min-width: 4.5rem; overflow-wrap: anywhere; } /* a long path is broken, a short word is not */
td.number { white-space: nowrap; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--quiet); font-size: .9rem; }
footer { padding: 3rem 1.25rem 2rem; }
"""  # noqa: E501 - text for another program


#: On a telephone: a row is a block of lines, head and value; figures keep the size of their
#: letters, and scroll.
_NARROW = """@media (max-width: 40rem) {
  main, header, footer { padding-left: .9rem; padding-right: .9rem; }
  table, tbody, tr, td { display: block; min-width: 0; }
  thead { display: none; }
  tr { border-bottom: 1px solid var(--line); padding: .5rem 0; }
  td, td.text, td.number { display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .1rem 0;
    text-align: right; white-space: normal; overflow-wrap: anywhere; }
  td::before { content: attr(data-head); color: var(--quiet); text-align: left; flex: 0 0 auto; max-width: 50%; }
  td:empty { display: none; }
  figure { overflow-x: auto; } figure svg { min-width: 46rem; }
}"""  # noqa: E501 - text for another program


def stylesheet() -> str:
    """The content of the page's `<style>`."""
    figure = "\n".join(
        f'  svg [style*="{kind}: {light}"] {{ {kind}: {dark} !important; }}'
        for light, dark in _DARK.items()
        for kind in ("fill", "stroke")
    )
    return f"""{_PAGE}
@media (prefers-color-scheme: dark) {{
  :root {{ --page: #15181d; --ink: #e6e8eb; --quiet: #9aa2ac; --line: #343a43; --card: #1e2229;
    --good: #4cc38a; --bad: #f0935a;
    --amber: #e2b340; }}
{figure}
}}
{_NARROW}
@media print {{ nav {{ display: none; }} h2, figure {{ break-inside: avoid; }} h2 {{ break-after: avoid; }} }}
"""  # noqa: E501 - text for another program
