"""What the documents say is what the code does."""

import re
from pathlib import Path

import pytest

from mlip_autopipec.daemon.service import STOPPED_EARLY_EXIT_CODE, VERDICT_EXIT_CODES
from mlip_autopipec.orchestration.diagram import anywhere, mermaid

TOP = Path(__file__).parents[2]
ARCHITECTURE = (TOP / "ARCHITECTURE.md").read_text()
README = (TOP / "README.md").read_text()


@pytest.mark.parametrize("diagram", mermaid())
def test_the_state_diagram_is_the_one_of_the_tables(diagram: str) -> None:
    """ARCHITECTURE.md holds the diagrams as the transition tables draw them today."""
    assert f"```mermaid\n{diagram}\n```" in ARCHITECTURE


def test_events_that_the_diagram_leaves_out_are_named_beside_it() -> None:
    """Nothing that a stage allows is missing from the page."""
    assert ", ".join(sorted(anywhere())) in ARCHITECTURE


def test_every_exit_code_is_in_the_readme() -> None:
    """The table of exit codes names each verdict's."""
    table = "".join(line for line in README.splitlines() if line.startswith("|"))
    for code in (*VERDICT_EXIT_CODES.values(), STOPPED_EARLY_EXIT_CODE, 2, 78, 70):
        assert re.search(rf"\b{code}\b", table), code


def test_every_test_that_a_document_names_is_there() -> None:
    """A claim whose test was renamed or removed is no claim."""
    tests = {
        name for path in (TOP / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    for document in ("ARCHITECTURE.md", "README.md", "SECURITY.md"):
        named = set(re.findall(r"`(test_\w+)`", (TOP / document).read_text()))
        assert sorted(named - tests) == [], document


def test_every_file_that_the_readme_shows_or_starts_is_there() -> None:
    """Commands and pictures of the README exist in the checkout."""
    for path in re.findall(r"\./(scripts/\w+)|\]\((docs/[\w.]+)\)", README):
        assert (TOP / next(filter(None, path))).is_file(), path
