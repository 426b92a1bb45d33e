"""A terminal painted in place, with few bytes: only letters that differ from those there are sent.

What is painted is rows of text with a style, never escape sequences: every letter of others goes
through `cell`, which lets none through that is a control character or not one column wide.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rich.cells import cell_len

from mlip_autopipec.data_models.text import printable


class Style(StrEnum):
    """How a piece of text stands out; the value is its SGR parameter."""

    PLAIN = "0"
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"


#: Those that are no colours, and stay where none is wanted.
_COLOURLESS = (Style.PLAIN, Style.BOLD)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a row."""

    text: str
    style: Style = Style.PLAIN


Row = Sequence[Piece]
_Cell = tuple[str, Style]
_BLANK: _Cell = (" ", Style.PLAIN)
#: To go on over letters that have not changed is shorter than to move the cursor, up to so many.
_GAP_MAX = 6
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[2J", "\x1b[?25h\x1b[?1049l"


def cell(letter: str) -> str:
    """A letter that takes one column; a mark for any other."""
    shown = " " if letter == "\n" else printable(letter)
    return shown if shown.isascii() or cell_len(shown) == 1 else "�"


def plain(row: Row) -> str:
    """A row without its styles."""
    return "".join(cell(letter) for piece in row for letter in piece.text).rstrip()


class Painter:
    """Paints screens onto a terminal. `write` takes text that goes there as it is."""

    def __init__(self, write: Callable[[str], None], *, colour: bool) -> None:
        self._write = write
        self._colour = colour
        self._shown: list[list[_Cell]] | None = None
        self._size = (0, 0)

    def paint(self, rows: Sequence[Row], columns: int, lines: int) -> int:
        """Show the rows; what is beyond the terminal's size is left out.

        Returns the letters that were sent.
        """
        screen = [self._cells(row, columns) for row in rows[:lines]]
        screen += [[_BLANK] * columns for _ in range(lines - len(screen))]
        sent = "" if self._shown is not None else _ENTER
        if self._shown is None or self._size != (columns, lines):
            sent += "\x1b[0m\x1b[2J"
            self._shown = [[_BLANK] * columns for _ in range(lines)]
            self._size = (columns, lines)
        for number, (was, now) in enumerate(zip(self._shown, screen, strict=True)):
            for begin, end in _runs(was, now):
                sent += f"\x1b[{number + 1};{begin + 1}H{self._styled(now[begin:end])}"
        self._shown = screen
        if sent:
            self._write(sent)
        return len(sent)

    def leave(self) -> None:
        """Give the terminal back as it was.

        One that has no second screen goes on below what was painted.
        """
        if self._shown is not None:
            self._shown = None
            self._write(f"\x1b[0m\x1b[{self._size[1]};1H\n{_LEAVE}")

    def _cells(self, row: Row, columns: int) -> list[_Cell]:
        cells = [
            (cell(letter), self._allowed(piece.style)) for piece in row for letter in piece.text
        ][:columns]
        return cells + [_BLANK] * (columns - len(cells))

    def _allowed(self, style: Style) -> Style:
        return style if self._colour or style in _COLOURLESS else Style.PLAIN

    def _styled(self, cells: Sequence[_Cell]) -> str:
        """Letters, with a sequence where the style changes; plain at the end."""
        said, current = "", Style.PLAIN
        for letter, style in cells:
            if style is not current:
                said += "\x1b[0m" if style is Style.PLAIN else f"\x1b[0;{style}m"
                current = style
            said += letter
        return said if current is Style.PLAIN else f"{said}\x1b[0m"


def _runs(was: Sequence[_Cell], now: Sequence[_Cell]) -> list[tuple[int, int]]:
    """Begin and end of what differs, small gaps included."""
    runs: list[tuple[int, int]] = []
    for index, (before, after) in enumerate(zip(was, now, strict=True)):
        if before == after:
            continue
        if runs and index - runs[-1][1] <= _GAP_MAX:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs
