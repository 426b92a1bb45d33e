"""`generation.variations` and `generation.files`: what each needs of prototypes and elements."""

from pathlib import Path

import pytest
from kit.site_files import mistakes, spoiled, write

from mlip_autopipec.config.loader import load_config

CASES = [
    ("{kind: alloy, elements: [Cu, Au], count: 4}", None),
    ("{kind: special, elements: [Cu, Au], fractions: {Au: [0.1, 0.9]}, count: 4}", None),
    ("{kind: antisite, count: 1}", None),
    ("{kind: dimer, count: 5, distance_max_angstrom: 4}", None),
    ("{kind: aloy, elements: [Cu, Au], count: 4}", "kind  'aloy' → "),
    (
        "{kind: alloy, elements: [Cu, Ag], count: 4}",
        "elements[1]  'Ag' → expected one of campaign.elements (Cu, Au)",
    ),
    (
        "{kind: alloy, elements: [Cu, Au], fractions: {Cu: [0, 1]}, count: 4}",
        "fractions.Cu  'Cu' → expected one of Au: Cu takes what the others leave",
    ),
    (
        "{kind: alloy, elements: [Cu, Au], fractions: {Au: [0.9, 0.1]}, count: 4}",
        "fractions.Au  [0.9, 0.1] → expected the smaller fraction first",
    ),
    ("{kind: vacancy, count: 0}", "count  0 → expected more than 0"),
    (
        "{kind: dimer, count: 5, distance_max_angstrom: 1}",
        "distance_max_angstrom  1.0 → expected more than distance_min_angstrom (1.5)",
    ),
    (
        "{kind: dimer, count: 5, distance_max_angstrom: 9}",
        (
            "box_angstrom  12.0 (the default) → expected at least distance_max_angstrom and"
            " training.cutoff_angstrom"
        ),
    ),
]


@pytest.mark.parametrize(("variation", "message"), CASES)
def test_a_variation_is_taken_or_told(tmp_path: Path, variation: str, message: str | None) -> None:
    """By its key, and with what was expected."""
    text = spoiled(("  structures: 10\n", f"  structures: 10\n  variations: [{variation}]\n"))
    if message is None:
        load_config(write(tmp_path, text))
        return
    (only,) = mistakes(tmp_path, text)
    assert f"generation.variations[0].{message}" in only


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    """With the place where it was looked for."""
    (only,) = mistakes(
        tmp_path, spoiled(("  structures: 10\n", "  structures: 10\n  files: [mine.cif]\n"))
    )
    assert "generation.files[0]  'mine.cif' → expected a file; there is none at " in only


def test_an_alloy_may_bring_in_an_element(tmp_path: Path) -> None:
    """No prototype has to hold it then."""
    lines = (
        "- structure: l1_2",
        "  elements: [Cu, Au]",
        "  lattice_constant_angstrom: 3.75",
        "  repeat: [2, 2, 2]",
    )
    text = spoiled(("".join(f"    {line}\n" for line in lines), ""))
    assert any("campaign.elements[1]" in line for line in mistakes(tmp_path, text))
    alloyed = text.replace(
        "  structures: 10\n",
        "  structures: 10\n  variations: [{kind: alloy, elements: [Cu, Au], count: 4}]\n",
    )
    assert load_config(write(tmp_path, alloyed)).config.generation.variations
