"""What the documents say is what the code does."""

import argparse
import importlib.util
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main
from kit.files import TOP
from kit.pages import blocks_of, merged
from pydantic import TypeAdapter
from ruamel.yaml import YAML
from typer.testing import CliRunner

import mlip_autopipec
from mlip_autopipec.answers import ANSWERS
from mlip_autopipec.cli import app
from mlip_autopipec.config.loader import load_config
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.config.shape import fields_of
from mlip_autopipec.control.api import HTTP_STATUS
from mlip_autopipec.daemon.service import STOPPED_EARLY_EXIT_CODE, VERDICT_EXIT_CODES, _parser
from mlip_autopipec.orchestration.diagram import anywhere, mermaid
from mlip_autopipec.starter import Wishes, site_file
from mlip_autopipec.work.codes.ase.rules import EMT_ELEMENTS

ARCHITECTURE = (TOP / "ARCHITECTURE.md").read_text()
README = (TOP / "README.md").read_text()
#: What people read: the top's documents and the pages of docs/.
PAGES = [*sorted(TOP.glob("*.md")), *sorted((TOP / "docs").rglob("*.md"))]
TEXT_MAX = 900


@cache
def hook(name: str) -> ModuleType:
    """A file of docs/hooks, which MkDocs runs as it is."""
    spec = importlib.util.spec_from_file_location(name, TOP / "docs" / "hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def generated_pages() -> frozenset[str]:
    """Paths under docs/ that MkDocs makes as it builds."""
    return frozenset(hook("pages").generated())


@pytest.mark.parametrize("diagram", mermaid())
def test_the_state_diagram_is_the_one_of_the_tables(diagram: str) -> None:
    """ARCHITECTURE.md holds the diagrams as the transition tables draw them today."""
    assert f"```mermaid\n{diagram}\n```" in ARCHITECTURE


def test_events_that_the_diagram_leaves_out_are_named_beside_it() -> None:
    """Nothing that a stage allows is missing from the page."""
    assert ", ".join(sorted(anywhere())) in " ".join(ARCHITECTURE.split())


def test_every_exit_code_is_on_its_page() -> None:
    """The table of exit codes names each verdict's."""
    page = (TOP / "docs" / "reference" / "exit-codes.md").read_text()
    table = "".join(line for line in page.splitlines() if line.startswith("|"))
    for code in (*VERDICT_EXIT_CODES.values(), STOPPED_EARLY_EXIT_CODE, 2, 78, 70):
        assert re.search(rf"\b{code}\b", table), code


def test_every_verdict_has_its_page_section() -> None:
    """What each means, and what to do."""
    page = (TOP / "docs" / "verdicts.md").read_text()
    for verdict in VERDICT_EXIT_CODES:
        assert f"\n## {str(verdict).replace('_', ' ')}\n" in page


def test_every_test_that_a_document_names_is_there() -> None:
    """A claim whose test was renamed or removed is no claim."""
    tests = {
        name
        for path in (TOP / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    for page in (
        TOP / "ARCHITECTURE.md",
        TOP / "README.md",
        TOP / "SECURITY.md",
        *(TOP / "docs" / "developers").glob("*.md"),
    ):
        named = set(re.findall(r"`(test_\w+)`", page.read_text()))
        assert sorted(named - tests) == [], page


def test_a_readme_is_a_page() -> None:
    """Who wants more finds it under docs/."""
    assert len(README.split()) <= TEXT_MAX


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_every_file_that_a_page_links_to_or_starts_is_there(page: Path) -> None:
    """Links, pictures, and scripts of the checkout. Pages that are generated count as there."""
    generated = {(TOP / "docs" / name).resolve() for name in generated_pages()}
    text = page.read_text()
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        path = (page.parent / target).resolve()
        assert path.exists() or (path in generated and page.is_relative_to(TOP / "docs")), target
    for script in re.findall(r"(?:^|[\s`])(?:\./)?(scripts/\w+)", text):
        assert (TOP / script).is_file(), script
    for file in re.findall(r"`(config/[\w/.-]+\.yaml)`", text):
        assert (TOP / file).is_file(), file


def test_every_page_is_in_the_navigation() -> None:
    """MkDocs would only mention it."""
    found = re.findall(r": ([\w/-]+\.md)$", (TOP / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    written = {str(path.relative_to(TOP / "docs")) for path in (TOP / "docs").rglob("*.md")}
    assert sorted(found) == sorted(written | generated_pages())


# --- the generated pages --------------------------------------------------------------------------


def test_every_key_of_a_site_file_has_a_meaning() -> None:
    """By its description, or a word in docs/hooks/pages.py."""
    rows = [
        line for line in hook("pages").site_file_reference().splitlines() if line.startswith("| `")
    ]
    assert [row for row in rows if row.endswith("|  |")] == []
    assert any("`gamma_halt_first`" in row for row in rows)


def keys_of_sections() -> Iterator[tuple[str, str, Any]]:
    """Section, key and field of all that a site file may have."""
    pages = hook("pages")
    for _, model in pages._sections(WorkflowConfig):
        for key, field in fields_of(model).items():
            yield pages._anchor(model), key, field


def test_every_key_of_a_site_file_has_an_example() -> None:
    """But for those holding sections, whose keys have theirs; none is of a key that is no more."""
    pages = hook("pages")
    wanted = {
        (anchor, key)
        for anchor, key, field in keys_of_sections()
        if not any(pages._models(field.annotation))
    }
    assert {
        (anchor, key) for anchor, examples in pages.EXAMPLES.items() for key in examples
    } == wanted
    row = next(
        line
        for line in pages.site_file_reference().splitlines()
        if line.startswith("| `distances_min_angst")
    )
    assert "| `{Cu-Au: 1.9}` |" in row


def test_every_example_of_a_key_is_taken() -> None:
    """By the type and the bounds that the model has for it, as a site file's value would be."""
    examples = hook("pages").EXAMPLES
    for anchor, key, field in keys_of_sections():
        if key in examples.get(anchor, {}):
            TypeAdapter(field.rebuild_annotation()).validate_python(examples[anchor][key])


def test_every_command_is_in_the_reference() -> None:
    """With its options, and what it is for."""
    page = hook("pages").command_reference()
    for path, command in commands():
        assert f"### autopipecctl {' '.join(path)}" in page
        assert command.help
    assert "--exit-on-verdict" in page


def test_every_answer_in_json_is_in_the_reference() -> None:
    """With its fields.

    What it names is a command that takes --json, and no such command is left out.
    """
    page = hook("pages").json_reference()
    assert all(f"\n## {command}\n" in page for command in ANSWERS)
    assert "| `active_tasks_count` | whole number | all live attempts |" in page
    # the parts of a document, too
    assert "\n### task attempt\n\nOne submission of a task.\n" in page
    assert (
        "| `phase` | `generation`, `exploration`, `selection`, `calculation`, `training` or null |"
        in page
    )
    takes = {
        " ".join(path)
        for path, command in commands()
        for each in command.params
        if "--json" in each.opts
    }
    named = {command.partition(" --")[0] for command in ANSWERS}
    assert takes - named == set()
    assert named - takes == {"journal export"}  # it prints nothing else


def test_every_command_has_a_short_help_and_its_exit_codes() -> None:
    """`-h` is `--help`, and says how the command ends."""
    for path, command in commands():
        assert (command.epilog or "").startswith("Exit codes: 0 done, "), path
    result = CliRunner().invoke(app, ["status", "-h"])
    assert (result.exit_code, "Exit codes: 0 done" in result.stdout) == (0, True)


@pytest.mark.slow
@pytest.mark.parametrize("width", [60, 80])
def test_no_help_is_cut(width: int) -> None:
    """At 60 columns either: each word of an option's help is there, and no line is longer."""
    for path, command in commands():
        result = CliRunner(env={"COLUMNS": str(width), "TERMINAL_WIDTH": str(width)}).invoke(
            app, [*path, "--help"]
        )
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert max(map(len, lines)) <= width, path
        assert "…" not in result.stdout.replace("done, …", ""), path
        message = set(" ".join(line.strip("│ ") for line in lines).split())
        for param in command.params:
            assert set((param.help or "").split()) <= message, (path, param.name)


def test_job_scripts_are_those_of_today() -> None:
    """Made again by `python docs/hooks/job_scripts.py > docs/reference/job-scripts.md`."""
    assert (TOP / "docs" / "reference" / "job-scripts.md").read_text() == hook("job_scripts").page()


def test_every_request_and_refusal_is_on_the_page_of_the_control_api() -> None:
    """By the routes of the server, and its codes."""
    page = (TOP / "docs" / "reference" / "control.md").read_text()
    server = (TOP / "mlip_autopipec" / "control" / "server.py").read_text()
    routes = re.findall(r'web\.(get|post)\("([^"]+)"', server)
    assert routes
    for method, path in routes:
        assert f"`{method.upper()} {path}" in page, path
    for code, status in HTTP_STATUS.items():
        assert f"| `{code}` | {int(status)} |" in page, code


def test_the_version_to_cite_is_the_programs() -> None:
    """CITATION.cff says which."""
    cited = YAML(typ="safe").load((TOP / "CITATION.cff").read_text())
    assert cited["version"] == mlip_autopipec.__version__ == version("mlip-autopipec")


@pytest.mark.parametrize(
    "path", sorted((TOP / "config" / "clusters").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_site_file_for_a_cluster_is_right(path: Path) -> None:
    assert load_config(path).config.site.scheduler.kind == "slurm"


# --- blocks of YAML -------------------------------------------------------------------------------


def blocks() -> Iterator[Any]:
    for page in PAGES:
        for number, block in enumerate(blocks_of(page)):
            yield pytest.param(block, id=f"{page.relative_to(TOP)}-{number + 1}")


@pytest.mark.parametrize("block", list(blocks()))
def test_every_block_of_yaml_is_a_part_of_a_site_file(tmp_path: Path, block: str) -> None:
    """A whole file as it is; a part of one in its place in the file that `config init` writes."""
    asked = YAML(typ="safe").load(block)
    text = block
    if not {"campaign", "site", "generation", "exploration", "calculation"} <= asked.keys():
        base = YAML(typ="safe").load(site_file(wishes_of(asked), tmp_path / "site.yaml"))
        with (tmp_path / "merged.yaml").open("w") as stream:
            YAML(typ="safe").dump(merged(base, asked), stream)
        text = (tmp_path / "merged.yaml").read_text()
    for name in re.findall(r"[\w-]+\.(?:cif|xyz|extxyz|asi)|mine\.yaml", block):
        (tmp_path / name).touch()
    path = tmp_path / "site.yaml"
    path.write_text(text)
    load_config(path)


def wishes_of(asked: Mapping[str, Any]) -> Wishes:
    """Of the elements that the block speaks of, on a cluster if it speaks of pw.x."""
    elements = tuple(dict.fromkeys(elements_in(asked))) or ("Cu",)
    prototypes = ("rocksalt:Mg,O:4.21",) if "O" in elements else ()
    known = set(elements) <= EMT_ELEMENTS
    return Wishes(
        elements=elements,
        prototypes=prototypes,
        oracle="ase",
        calculator=None if known else "somewhere.Calculator",
        cluster="site" not in asked,
    )


def elements_in(value: Any) -> Iterator[str]:
    """Under the keys that hold them."""
    if isinstance(value, list):
        for item in value:
            yield from elements_in(item)
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "elements":
                yield from item
            elif key in {"pseudopotentials", "starting_magnetization"}:
                yield from item.keys()
            else:
                yield from elements_in(item)


# --- commands -------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of autopipecctl by its path."""

    def below(path: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield path, command
            return
        for name, each in inner.items():
            yield from below((*path, name), each)

    yield from below((), typer.main.get_command(app))


def lines() -> Iterator[Any]:
    """Lines that a page shows by themselves: indented, or in a block of code."""
    pattern = r"^(?:\s{4,}|)(?:[\w/.]*/)?(autopipecctl|autopipecd)( [^\n]*)$"
    for page in PAGES:
        fenced = re.sub(
            r"^```(\w*)\n(.*?)^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL
        )
        code = "\n".join(line for line in fenced.splitlines() if line.startswith("    "))
        for program, options in re.findall(pattern, code, flags=re.MULTILINE):
            yield pytest.param(
                program,
                options,
                id=f"{page.relative_to(TOP)}:{program}{options.partition('  ')[0]}",
            )


@pytest.mark.parametrize(("program", "options"), list(lines()))
def test_every_command_line_is_understood(program: str, options: str) -> None:
    """By the program itself; nothing is run."""
    arguments = shlex.split(options, comments=True)
    if program == "autopipecd":
        assert isinstance(_parser().parse_args(arguments), argparse.Namespace)
        return
    command: Any = typer.main.get_command(app)
    if arguments[0].startswith("-"):
        command.make_context(program, arguments, resilient_parsing=True)
        return
    while (inner := getattr(command, "commands", None)) is not None:
        command = inner[arguments.pop(0)]
    command.make_context(program, arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_every_command_that_a_sentence_names_is_there(page: Path) -> None:
    """`autopipecctl WORDS` begins with a command, and its options are that command's own."""
    known = {" ".join(path): command for path, command in commands()}
    groups = {" ".join(path[:-1]) for path, _ in commands() if len(path) > 1}
    for said in re.findall(r"`autopipecctl ([^`]+)`", page.read_text()):
        parts = said.split()
        path = next((" ".join(parts[:n]) for n in (2, 1) if " ".join(parts[:n]) in known), None)
        if path is None:
            assert parts[0] in groups or parts[0] == "--version", said
            continue
        options = {option for param in known[path].params for option in param.opts}
        assert {word.partition("=")[0] for word in parts if word.startswith("--")} <= options, said
