"""Rules between sections, and the crystals that they are worked out from."""

from itertools import product
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from ase.data import chemical_symbols
from kit.site_files import SITE, mistakes, spoiled, write

from mlip_autopipec.config.complaints import read
from mlip_autopipec.config.crystals import (
    C_OVER_A,
    atoms_of,
    element_slots,
    nearest_neighbour_angstrom,
)
from mlip_autopipec.config.loader import load_config
from mlip_autopipec.config.rules.table import RULES, broken_rules
from mlip_autopipec.config.schemas.training import TrainingSection
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.config.source import parse
from mlip_autopipec.contract.elements import SYMBOLS
from mlip_autopipec.contract.generate import Prototype
from mlip_autopipec.work.structures import crystal, shortest_distance

STRUCTURES = get_args(get_type_hints(Prototype)["structure"])
ELEMENTS = ("Cu", "Au")


def prototype_of(structure: Any, c_over_a: float | None = None, **others: Any) -> Prototype:
    """A prototype with as many elements as its structure takes."""
    elements = ELEMENTS[: element_slots(structure)]
    return Prototype(
        structure=structure,
        elements=elements,
        lattice_constant_angstrom=3.7,
        c_over_a=c_over_a,
        **others,
    )


def right_of(text: str) -> dict[str, Any]:
    """The values of a text that are right in themselves."""
    data = parse(text).data
    assert data is not None
    return read(WorkflowConfig, data).right()


def test_a_target_in_force_leaves_the_halting_frame_in_the_window(tmp_path: Path) -> None:
    """γ halt may become twice the given one.

    What is above selection.gamma_max would be taken for unphysical.
    """
    target = ("stride: 5", "stride: 5\n  force_error_target_mev_per_angstrom: 50")
    [line] = mistakes(tmp_path, spoiled(target, ("candidates_max: 6", "gamma_max: 20")))
    assert line == (
        "site.yaml:40  selection.gamma_max  20.0 → expected more than 20:"
        " exploration.force_error_target_mev_per_angstrom may move exploration.gamma_halt (10) so"
        " far"
    )
    right = right_of(spoiled(target, ("candidates_max: 6", "gamma_max: 20.5")))
    assert not list(broken_rules(right))
    right = right_of(spoiled(("candidates_max: 6", "gamma_max: 11")))
    assert not list(broken_rules(right))


def test_the_symbols_are_those_of_the_work_half() -> None:
    """All 118, in order, as ASE has them."""
    assert list(SYMBOLS) == chemical_symbols[1:]


@pytest.mark.parametrize("structure", STRUCTURES)
def test_atoms_are_counted_as_the_work_half_builds_them(structure: str) -> None:
    """Each element, in a repeated cell."""
    prototype = prototype_of(structure, repeat=(1, 2, 3))
    symbols = crystal(prototype).get_chemical_symbols()
    assert {
        element: symbols.count(element) for element in ELEMENTS[: element_slots(structure)]
    } == atoms_of(prototype)


@pytest.mark.parametrize(
    ("structure", "c_over_a"),
    [*product(STRUCTURES, [None]), *product(C_OVER_A, [0.2, 0.5, 0.65, 0.9, 1.3, 1.5, 1.8])],
)
def test_nearest_neighbours_are_those_of_the_crystal(
    structure: str, c_over_a: float | None
) -> None:
    """The formula and a search in the work half's own crystal agree, for near or far layers too."""
    prototype = prototype_of(structure, c_over_a)
    measured = shortest_distance(crystal(prototype), 6.0)
    assert nearest_neighbour_angstrom(prototype) == pytest.approx(measured, abs=1e-9)


@pytest.mark.parametrize("number", range(len(RULES)))
def test_a_rule_reads_only_what_it_names(number: int) -> None:
    """Without one of its values it is not asked; with no others it runs."""
    rule, needs = RULES[number]
    right = {key: value for key, value in right_of(SITE).items() if key in needs}
    assert right.keys() == needs, rule
    assert list(broken_rules(right)) == []
    for need in needs:
        fewer = {key: value for key, value in right.items() if key != need}
        assert rule not in [other for other, others in RULES if others <= fewer.keys()]


def test_only_values_that_are_wrong_keep_rules_from_being_asked() -> None:
    """A section that has a wrong value in it lends its others to the rules."""
    right = right_of(
        spoiled(("structures: 10", "structures: ten"), ("gamma_halt: 10", "gamma_hlt: 1.5"))
    )
    assert "generation.structures" not in right
    assert right["generation.test_structures"] == 4
    assert [mistake.path for mistake in broken_rules(right)] == [("exploration", "gamma_halt")]


@pytest.mark.parametrize(("structures", "functions"), [(2, 8), (3, 8), (4, 16), (9, 32)])
def test_structures_are_spread_over_the_prototypes_in_turn(
    tmp_path: Path, structures: int, functions: int
) -> None:
    """One more function than the scarcest element has atoms is refused; as many are not.

    fcc Cu has 32 Cu; l1_2 has 8 of its first element, Au, and 24 Cu.
    """
    changes = [
        ("      elements: [Cu, Au]\n", "      elements: [Au, Cu]\n"),
        ("structures: 10", f"structures: {structures}"),
    ]
    enough = spoiled(
        *changes, ("functions_per_element: 100", f"functions_per_element: {functions}")
    )
    assert [
        mistake for mistake in broken_rules(right_of(enough)) if mistake.path[0] == "training"
    ] == []
    [line] = mistakes(
        tmp_path,
        spoiled(
            *changes, ("functions_per_element: 100", f"functions_per_element: {functions + 1}")
        ),
    )
    message = (
        f"expected no more than {functions}: generation.structures ({structures}) hold {functions} "
    )
    assert f"training.functions_per_element  {functions + 1} → {message}" in line


def test_an_oracle_is_any_class_or_function_by_its_path(tmp_path: Path) -> None:
    """Some calculators are made by functions, so no capital is asked for."""
    assert list(broken_rules(right_of(spoiled(("emt.EMT", "emt.make_emt"))))) == []
    assert len(mistakes(tmp_path, spoiled(("emt.EMT", "emt.")))) == 1


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("{calculator: chgnet.model.dynamics.CHGNetCalculator, temperatures_kelvin: [300]}", None),
        (
            "{calculator: EMT, temperatures_kelvin: [300]}",
            ".calculator  'EMT' → expected an import path such as",
        ),
        (
            "{calculator: a.B, temperatures_kelvin: []}",
            ".temperatures_kelvin  [] → expected 1 or more in the list",
        ),
        (
            "{calculator: a.B, temperatures_kelvin: [0]}",
            ".temperatures_kelvin[0]  0 → expected more than 0",
        ),
        (
            "{calculator: a.B, temperatures_kelvin: [300], timestep_fs: 0}",
            ".timestep_fs  0 → expected more than 0",
        ),
        ("{calculator: a.B, temperature_kelvin: [300]}", "did you mean 'temperatures_kelvin'?"),
    ],
)
def test_a_teacher_is_taken_or_told(tmp_path: Path, teacher: str, message: str | None) -> None:
    """By its key, and with what was expected."""
    text = spoiled(("  structures: 10\n", f"  structures: 10\n  teacher: {teacher}\n"))
    if message is None:
        found = load_config(write(tmp_path, text)).config.generation.teacher
        assert found is not None
        assert (found.name, found.steps) == ("CHGNetCalculator", 100)
        return
    lines = mistakes(tmp_path, text)
    assert any("generation.teacher" in line and message in line for line in lines), lines


def test_a_teacher_without_crystals_walks_nowhere(tmp_path: Path) -> None:
    """A data set alone has no prototypes."""
    text = spoiled()
    head, _, rest = text.partition("generation:\n")
    _, _, tail = rest.partition("exploration:\n")
    (tmp_path / "mine.extxyz").touch()
    teacher = (
        "generation: {teacher: {calculator: a.B, temperatures_kelvin: [300]}}\ndataset: {files:"
        " [mine.extxyz]}\n"
    )
    [line] = [
        line
        for line in mistakes(tmp_path, f"{head}{teacher}exploration:\n{tail}")
        if "teacher" in line
    ]
    assert line.endswith(
        "generation.teacher  'a.B' → expected none without generation.prototypes, which its MD"
        " starts from"
    )


def test_only_prototypes_may_be_named_as_unstable(tmp_path: Path) -> None:
    """The first labels would otherwise pause a campaign for what its file seems to allow."""
    oracle = "  oracle:\n"
    named = f"  first_labels: {{unstable: [Cu fcc]}}\n{oracle}"
    assert list(broken_rules(right_of(spoiled((oracle, named))))) == []
    [line] = mistakes(tmp_path, spoiled((oracle, named.replace("Cu fcc", "Cu fc"))))
    assert "calculation.first_labels.unstable[0]" in line
    assert line.endswith("did you mean 'Cu fcc'?")


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("{phonons: {}}", None),
        ("{phonons: {stable: [Cu fcc, CuAu3 l1_2], oracle: true}}", None),
        ("{phonons: {stable: [CuAu l1_2]}}", None),  # as earlier versions called it
        (
            "{phonons: {stable: [Cu fcc, CuAu l12]}}",
            (
                "expected one of generation.prototypes (Cu fcc, CuAu3 l1_2); did you mean 'CuAu3"
                " l1_2'?"
            ),
        ),
        (
            "{properties: false, phonons: {oracle: true}}",
            (
                "gate.phonons.oracle  true → expected only with training.gate.properties: the"
                " oracle's own are among them"
            ),
        ),
        (
            "{phonons: {imaginary_max: 0.2}}",
            (
                "training.gate.phonons.imaginary_max  0.2 → no such key; did you mean"
                " 'imaginary_max_thz'?"
            ),
        ),
        ("{phonon: {}}", "training.gate.phonon  {} → no such key; did you mean 'phonons'?"),
    ],
)
def test_phonons_are_asked_of_prototypes_that_are_there(
    tmp_path: Path, gate: str, message: str | None
) -> None:
    """By their names as the report has them; each mistake names the nearest right one."""
    text = spoiled(("  cutoff_angstrom: 6.0\n", f"  cutoff_angstrom: 6.0\n  gate: {gate}\n"))
    if message is None:
        assert list(broken_rules(right_of(text))) == []
    else:
        [line] = mistakes(tmp_path, text)
        assert line.endswith(message), line


def test_without_a_number_of_cores_the_machine_decides() -> None:
    """The file alone cannot say whether they suffice."""
    text = spoiled(("kind: local, cores: 2}", "kind: local}"), ("cores: 2\n", "cores: 64\n"))
    assert list(broken_rules(right_of(text))) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("functions_per_element: 100", "functions_per_element: auto"), None),
        (("  cutoff_angstrom: 6.0\n  functions_per_element: 100\n", "  gate: {}\n"), None),
        (
            ("cutoff_angstrom: 6.0", "cutoff_angstrom: auto\n  ridge: auto\n  energy_weight: auto"),
            None,
        ),
        (
            ("functions_per_element: 100", "functions_per_element: 0"),
            "functions_per_element  0 → expected",
        ),
        (
            ("functions_per_element: 100", "functions_per_element: atuo"),
            "functions_per_element  'atuo' → expected",
        ),
        (
            ("functions_per_element: 100", "functions_per_element: auto\n  trainer: pacemaker"),
            "functions_per_element  'auto' → expected a number with trainer: pacemaker",
        ),
    ],
)
def test_auto_is_taken_or_told(
    tmp_path: Path, change: tuple[str, str], message: str | None
) -> None:
    """The linear trainer chooses what is `auto` or left out; pacemaker doesn't."""
    lines = mistakes(tmp_path, spoiled(change)) if message else []
    assert message is None or any(f"training.{message}" in line for line in lines)
    if message is None:
        assert list(broken_rules(right_of(spoiled(change)))) == []


@pytest.mark.parametrize(
    ("functions", "expected"),
    [(600, []), (601, ["expected no more than 600: the linear basis of 2 elements ends there"])],
)
def test_no_more_functions_than_the_basis_has(functions: int, expected: list[str]) -> None:
    """With the largest number there is, for as many elements."""
    changes = (("structures: 10", "structures: 100"), ("labels_max: 200", "labels_max: 2000"))
    text = spoiled(*changes, ("functions_per_element: 100", f"functions_per_element: {functions}"))
    found = [
        mistake.expected
        for mistake in broken_rules(right_of(text))
        if mistake.path[0] == "training"
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("variation", "more"),
    [
        ("{kind: squeezed, count: 4}", 2 * 24),
        ("{kind: antisite, count: 4}", 2 * 24),
        ("{kind: vacancy, count: 4}", 2 * 24 - 4),
        ("{kind: surface, count: 4}", 10_000),
    ],
)
def test_variations_bring_environments(variation: str, more: int) -> None:
    """What they hold at the least is counted beside generation.structures.

    A slab's atoms can't be, and pass.
    """
    added = ("structures: 10", f"structures: 2\n  variations: [{variation}]")
    for functions, right in ((24 + more, True), (25 + more, False)):
        text = spoiled(
            added, ("functions_per_element: 100", f"functions_per_element: {min(functions, 600)}")
        )
        broken = [
            mistake for mistake in broken_rules(right_of(text)) if mistake.path[0] == "training"
        ]
        assert (not broken) == (right or more == 10_000)


def test_what_is_left_out_follows_the_basis() -> None:
    """A site file that names its basis means what it always meant; others leave all to the fit."""
    named = TrainingSection(cutoff_angstrom=5.0, functions_per_element=50).balance()
    assert named == pytest.approx((100.0, 1.0, 1e-8, 0.0))
    assert TrainingSection().balance() == ("auto",) * 4
    assert TrainingSection(energy_weight=10.0, ridge=1e-6).balance() == (10.0, 0.1, 1e-6, "auto")
