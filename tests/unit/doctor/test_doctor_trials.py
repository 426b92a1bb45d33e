"""What trials of an oracle mean: costs of settings, and advice for the k-mesh."""

from typing import Any

import pytest
from kit.judged import judged_value

from mlip_autopipec.config.schemas.phases import FirstLabelsSection
from mlip_autopipec.contract.doctor import Trial, TrialLabel
from mlip_autopipec.contract.results.structure import PropertyCell
from mlip_autopipec.doctor.trials import (
    Tried,
    advice,
    announced,
    estimated,
    trial_lines,
)

SECTION = FirstLabelsSection()


KEY = "k_spacing_inverse_angstrom"


def tried(
    kind: str,
    message: str,
    energy_mev: float,
    *,
    spacing: float = 0.2,
    cost: float = 1.0,
    cell: str = "moved",
) -> Tried:
    """A label of a cell of four atoms whose energy per atom is off by so much."""
    about = judged_value(PropertyCell, {"crystal": "Mg hcp", "kind": cell})
    setting: dict[str, Any] = (
        {} if kind not in {"as asked", "k-mesh"} else {"key": KEY, "value": spacing}
    )
    trial = Trial(
        kind=kind,
        description=message,
        oracle={},
        cell=cell,
        about=about,
        n_atoms=4,
        cost=cost,
        **setting,
    )
    label = TrialLabel(
        energy_ev=-100.0 + 0.004 * energy_mev,
        n_atoms=4,
        volume_angstrom3=92.0,
        stress_gpa=(energy_mev / 100, 0, 0, 0, 0, 0),
        forces_ev_per_angstrom=((energy_mev / 1000, 0, 0), (0, 0, 0)),
        wall_s=10.0,
    )
    return trial, label


ASKED = tried("as asked", "k 0.4 per Å (6×4×4)", 4.0, spacing=0.4)
MESHES = [
    tried("k-mesh", "k 0.6 per Å (4×2×4)", 40.0, spacing=0.6, cost=0.3),
    tried("k-mesh", "k 0.267 per Å (8×6×6)", 1.0, spacing=0.267, cost=3.0),
    tried("k-mesh", "k 0.2 per Å (12×6×8)", 0.0, spacing=0.2, cost=6.0),
]


def test_the_cost_is_told_before_the_labels_and_the_time_after_the_first() -> None:
    """Relative to the first at the begin, for nobody knows how fast the machine is."""
    trials = [trial for trial, _ in (ASKED, *MESHES)]
    assert announced(trials, "on this machine").startswith("4 labels of Mg hcp, cells of 4 atoms")
    assert "about 10 times the first" in announced(trials, "on this machine")
    assert estimated(trials, ASKED[1]) == "the first took 10 s: about 1 min 33 s for the other 3"


def test_every_setting_is_told_with_what_it_costs_against_the_finest_of_its_kind() -> None:
    """In meV/atom, meV/Å and GPa.

    A twin of another shape shows whether the oracle agrees with itself.
    """
    twin = tried("as asked", "", 41.0, spacing=0.4, cell="twin")
    lines = list(
        trial_lines([ASKED, *MESHES, tried("cutoff", "cutoff 30/120 Ry", 4.5), twin], SECTION)
    )
    assert lines[0] == "k-mesh, against k 0.2 per Å (12×6×8):"
    assert [line.split() for line in lines[2:5]] == [
        ["as", "in", "the", "site", "file", "4.00", "4.0", "0.04", "10", "s"],
        ["k", "0.6", "per", "Å", "(4×2×4)", "40.00", "40.0", "0.40", "10", "s"],
        ["k", "0.267", "per", "Å", "(8×6×6)", "1.00", "1.0", "0.01", "10", "s"],
    ]
    assert lines[5] == "cutoff, against cutoff 30/120 Ry:"
    assert lines[7].split()[5] == "0.50"
    assert any(line.startswith("CONTRADICTION: Mg hcp: cells of 4 and 4 atoms") for line in lines)
    assert lines[-1].startswith("k_spacing_inverse_angstrom: 0.267 is enough")


# 0.4 agrees by chance
@pytest.mark.parametrize(
    ("offs", "message"),
    [
        ({0.4: 0.5, 0.3: 1.0, 0.2: 0.0}, "k_spacing_inverse_angstrom: 0.4 is enough"),
        (
            {0.4: 0.5, 0.3: 9.0, 0.2: 0.0},
            "set it to 0.2 or less and ask again",
        ),
        ({0.4: 9.0, 0.2: 0.0}, "set it to 0.2 or less and ask again"),
    ],
)
def test_advice_is_the_coarsest_from_which_on_all_agree(
    offs: dict[float, float], message: str
) -> None:
    """A mesh that agrees by chance, beside a finer one that does not, is none."""
    every = [tried("k-mesh", f"k {spacing}", off, spacing=spacing) for spacing, off in offs.items()]
    assert message in advice(every, SECTION, "k-mesh")
