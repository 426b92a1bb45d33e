"""Small pieces of HTML: escaped text, tables, and SVG files made into elements of a page."""

import re
from collections.abc import Iterable, Sequence
from html import escape as escape_markup
from itertools import repeat

from mlip_autopipec.data_models.text import printable

_STYLE_ELEMENT = re.compile(r"<style.*?</style>", re.DOTALL)
_METADATA_ELEMENT = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_PATH = re.compile(r'(?<= d=")[^"]*')
_DECIMALS = re.compile(r"(\.\d\d)\d+")
_VIEW_BOX = re.compile(r'viewBox="[^"]*"')


def escape(text: str, *, quote: bool = True) -> str:
    """The text as HTML shows it, with a mark in place of every control character."""
    return escape_markup(printable(text), quote=quote)


def element(tag: str, text: str, **attributes: str) -> str:
    """One element around escaped text.

    Of an attribute's name a last underscore is dropped, others are hyphens.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value, quote=True)}"'
        for name, value in attributes.items()
    )
    return f"<{tag}{written}>{escape(text)}</{tag}>"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    text_columns: Sequence[int] = (0,),
    row_classes: Iterable[str] | None = None,
) -> str:
    """A table; columns not in `text_columns` hold numbers. Where too wide, it scrolls by itself.

    On a narrow screen each row is a block of lines, each led by the head of its column (see the
    style sheet).

    `row_classes`, where given, has one for each row.
    """
    kinds = ["text" if column in text_columns else "number" for column in range(len(head))]
    styles = (
        repeat("")
        if row_classes is None
        else (f' class="{escape(name, quote=True)}"' for name in row_classes)
    )
    heads = "".join(
        element("th", name, scope="col", class_=kind)
        for name, kind in zip(head, kinds, strict=True)
    )
    body = "\n".join(
        f"<tr{style}>"
        + "".join(
            element("td", cell, class_=kind, data_head=name)
            for name, cell, kind in zip(head, row, kinds, strict=True)
        )
        + "</tr>"
        for row, style in zip(rows, styles, strict=False)
    )
    table = f"<table><thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
    return f'<div class="scroll">{table}</div>'


def inline_svg(file: str, name: str, alt: str) -> str:
    """The `<svg>` element of an SVG file, fit for a page.

    It is sized by the page, its ids are led by `name`, and it has no names of other sites.
    """
    head, body = file[file.index("<svg") :].split(">", 1)
    box = _VIEW_BOX.search(head)
    body = _METADATA_ELEMENT.sub("", _STYLE_ELEMENT.sub("", body)).replace("xlink:href", "href")
    body = (
        body.replace(' id="', f' id="{name}-')
        .replace("url(#", f"url(#{name}-")
        .replace('href="#', f'href="#{name}-')
    )
    # hundredths of a point are enough
    body = _PATH.sub(lambda path: _DECIMALS.sub(r"\1", path[0]), body)
    return f'<svg {box[0] if box else ""} role="img" aria-label="{escape(alt, quote=True)}">{body}'
