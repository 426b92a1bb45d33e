"""SECURITY.md: each of its claims names the tests that show it, and each of these exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(
        r"^(?:async )?def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE
    )
}
#: Rows of the tables without their heads, each as its cells.
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| who |", "| claim |"))
]
#: What shows a claim that is no test of pytest, and where that stands.
ELSEWHERE = {"The daemon unpickles nothing": "pyproject.toml"}


def test_every_test_that_is_named_exists() -> None:
    """None was renamed or lost."""
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert len(named) > 60
    assert named - TESTS == set()


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:60] for row in ROWS])
def test_every_claim_has_what_shows_it(row: list[str]) -> None:
    """A test by name, or a contract that `scripts/check` holds."""
    shown = row[-1]
    if re.search(r"`test_\w+`", shown):
        return
    (message,) = [message for message in ELSEWHERE if message in shown]
    assert message in (ROOT / ELSEWHERE[message]).read_text(encoding="utf-8")


def test_every_claim_outside_the_tables_is_shown_too() -> None:
    """Of the sections that promise something: secrets, and the service."""
    for head in ("## Secrets", "## The service"):
        section = TEXT.partition(head)[2].partition("\n## ")[0]
        assert re.search(r"`test_\w+`", section), head
