"""Painting in place: whatever was there, the terminal shows what it got, and few bytes are sent."""

from collections.abc import Sequence

import pyte
from hypothesis import given, settings
from hypothesis import strategies as st

from mlip_autopipec.control.paint import Painter, Piece, Row, Style, cell, plain

LETTERS = st.text(st.sampled_from("ab c.9é≤γ"), max_size=14)
ROWS = st.lists(st.lists(st.builds(Piece, LETTERS, st.sampled_from(Style)), max_size=3), max_size=8)
SIZES = st.tuples(st.integers(1, 20), st.integers(1, 6))
_COLOURS = {Style.RED: "red", Style.GREEN: "green", Style.YELLOW: "brown"}


class Glass:
    """A terminal, as pyte emulates it, and what was written to it."""

    def __init__(self, columns: int = 40, lines: int = 5, *, colour: bool = True) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.written: list[str] = []
        self._stream = pyte.Stream(self.screen)
        self.painter = Painter(self.write, colour=colour)

    def write(self, text: str) -> None:
        self.written.append(text)
        self._stream.feed(text)

    def paint(self, rows: Sequence[Row]) -> int:
        return self.painter.paint(rows, self.screen.columns, self.screen.lines)

    @property
    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]


@settings(max_examples=60, deadline=None)
@given(screens=st.lists(st.tuples(ROWS, SIZES), min_size=1, max_size=4), colour=st.booleans())
def test_a_terminal_shows_what_was_painted_last(
    *, screens: list[tuple[list[Row], tuple[int, int]]], colour: bool
) -> None:
    """After any row of screens, of any size; letters and colours alike."""
    glass = Glass(*screens[0][1], colour=colour)
    for rows, (columns, lines) in screens:
        glass.screen.resize(lines, columns)
        glass.paint(rows)
        wanted = [plain(row)[:columns].rstrip() for row in rows[:lines]]
        assert glass.shown == wanted + [""] * (lines - len(wanted))
        for number, row in enumerate(rows[:lines]):
            styles = [piece.style for piece in row for _ in piece.text][:columns]
            for index, style in enumerate(styles):
                seen = glass.screen.buffer[number][index]
                assert seen.fg == (_COLOURS.get(style, "default") if colour else "default")
                assert seen.bold == (style is Style.BOLD)


def test_only_what_has_changed_is_sent() -> None:
    """Nothing for the same screen; a number that changed costs its letters and a cursor's way."""
    glass = Glass(80, 24)
    before = [[Piece(f"row {number}: a text that stays where it is")] for number in range(24)]
    assert glass.paint(before) > 800
    assert glass.paint(before) == 0
    after = [*before[:7], [Piece("row 8: a text that stays where it is")], *before[8:]]
    assert glass.paint(after) < 10


def test_what_is_left_is_the_terminal_of_before() -> None:
    """The other screen, the cursor and the colours are given back, once."""
    glass = Glass()
    glass.paint([[Piece("a", Style.RED)]])
    assert glass.written[0].startswith("\x1b[?1049h\x1b[?25l")
    glass.painter.leave()
    glass.painter.leave()
    assert glass.written[1:] == ["\x1b[0m\x1b[5;1H\n\x1b[?25h\x1b[?1049l"]
    assert glass.screen.cursor.y == 4  # pyte has no second screen: what comes now stands below


def test_without_colour_there_is_none() -> None:
    """Bold is no colour."""
    glass = Glass(colour=False)
    glass.paint([[Piece("a", Style.RED), Piece("b", Style.BOLD), Piece("c", Style.DIM)]])
    assert "\x1b[0;1mb" in glass.written[0]
    assert "31" not in glass.written[0]


def test_every_letter_takes_one_column() -> None:
    """Control characters, combining marks, wide letters and emoji would shift what follows them."""
    for letter in "\x1b\x07\x9b\t\u202e\u0301漢😀\u200b":
        assert cell(letter) == "�"
    assert [cell(letter) for letter in "aγ≤\n"] == ["a", "γ", "≤", " "]
