"""Trials of an oracle: what is tried, in which order, and one label."""

from collections import Counter
from typing import Any

import pytest
from kit.judged import judged_value

from mlip_autopipec.contract.doctor import LABEL, TRIALS, Trial
from mlip_autopipec.contract.generate import Prototype
from mlip_autopipec.contract.values import plain
from mlip_autopipec.work.codes.espresso.settings import EspressoOracle, Pseudopotential, Smearing
from mlip_autopipec.work.doctor.examine import examine

MG = plain(
    Prototype(structure="hcp", elements=("Mg",), lattice_constant_angstrom=3.2, c_over_a=1.624)
)
CU = plain(Prototype(structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.6))
EMT = {"kind": "ase", "calculator": "ase.calculators.emt.EMT", "arguments": {}}


def espresso(smearing: Smearing | None) -> dict[str, Any]:
    oracle = EspressoOracle(
        pseudo_folder="/upf",
        k_spacing_inverse_angstrom=0.4,
        pseudopotentials={"Mg": Pseudopotential(file="Mg.UPF")},
        ecutwfc_ry=20.0,
        ecutrho_ry=80.0,
        smearing=smearing,
    )
    content: dict[str, Any] = plain(oracle)
    return content


@pytest.mark.parametrize("smearing", [Smearing(width_ry=0.02), None], ids=["metal", "insulator"])
def test_meshes_widths_and_cutoffs_are_varied_one_by_one(smearing: Smearing | None) -> None:
    """No mesh twice; the finest of a kind comes last; finer ones cost more."""
    trials = trials_of(espresso(smearing), MG)
    assert trials[0].kind == "as asked"
    assert (trials[0].about.kind, trials[-1].about.kind) == ("moved", "twin")
    assert trials[0].description.startswith("k 0.4 per Å (6×4×4)")
    kinds = Counter(trial.kind for trial in trials)
    assert kinds == {
        "as asked": 2,
        "k-mesh": 3,
        "cutoff": 2,
        **({"smearing width": 2} if smearing else {}),
    }
    meshes = [trial for trial in trials if trial.kind == "k-mesh"]
    assert len({trial.description for trial in meshes}) == len(meshes)
    assert [trial.cost for trial in meshes] == sorted(trial.cost for trial in meshes)
    assert meshes[-1].oracle["k_spacing_inverse_angstrom"] == 0.2
    own = trials[0].oracle
    for trial in trials[1:-1]:
        assert sum(trial.oracle[name] != own[name] for name in own) == (
            2 if trial.kind == "cutoff" else 1
        )


def test_any_oracle_is_asked_for_what_the_first_labels_need() -> None:
    """With the numbers by which it is held against itself."""
    trials = trials_of(EMT, CU)
    assert Counter(trial.about.kind for trial in trials) == {
        "moved": 1,
        "twin": 1,
        "volume": 7,
        "strain": 4,
    }
    said = examine("label", {"oracle": EMT, "prototype": CU, "cell": trials[0].cell})
    label = judged_value(LABEL.answer, said)
    assert label.n_atoms == len(label.forces_ev_per_angstrom) == 4
    assert label.forces_ev_per_angstrom[0][0] < -0.1  # back to its site


def test_an_oracle_that_cannot_be_made_says_so() -> None:
    """In the words of its tasks."""
    said = examine(
        "label",
        {
            "oracle": {**EMT, "calculator": "ase.calculators.emt.EMTT"},
            "prototype": CU,
            "cell": cell(),
        },
    )
    assert said["fit"] is False
    assert "ase.calculators.emt.EMTT" in said["words"]


def cell() -> str:
    return trials_of(EMT, CU)[0].cell


def trials_of(oracle: dict[str, Any], prototype: dict[str, Any]) -> tuple[Trial, ...]:
    said = examine(TRIALS.name, {"oracle": oracle, "prototype": prototype})
    return judged_value(TRIALS.answer, said).trials
