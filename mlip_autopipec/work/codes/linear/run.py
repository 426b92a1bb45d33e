"""The linear trainer: one ridge regression.

It minimises

    energy_weight ⟨(ΔE/N)²⟩ + force_weight ⟨ΔF²⟩ + stress_weight ⟨(ΔσV/N)²⟩ + ridge Σ rᵢ²ˢ cᵢ²

over the coefficients c of a linear ACE basis (Drautz, Phys. Rev. B 99, 014104 (2019)); E and σV in
eV, F in eV/Å, rᵢ the roughness of a function (the sum of n + l over its factors), s the smoothness
of the prior (0: plain ridge). Means, not sums: the balance between energies and forces does not
drift as the data set grows. The means are weighted where cells are embedded, and those of energies
and stresses by condition (`work/ace/weights.py`). Labels without stress have no part in the third.

With equal weights a structure's energy counts as one of its 3N force components, though its error
is smaller by the same factor that its use is greater: formation energies and elastic constants live
on meV/atom. So the default weighs energies by 100; `auto` asks cross-validation
(`work/ace/choice.py`). Labels that are chosen for what they teach are extremes, and energies of all
else take their bias: on Ni3Al, 40 of them left 0.48 meV/atom with a weight of 30 and 0.39 with 100,
at 10.9 meV/Å either way, where random labels have 0.46 and 0.43.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from pyace import ACEBBasisSet

from mlip_autopipec.contract.results.train import FittedSettings
from mlip_autopipec.contract.train import FitSettings
from mlip_autopipec.work.ace import basis as functions_of
from mlip_autopipec.work.ace.basis import linear_basis
from mlip_autopipec.work.ace.choice import Chosen, choose, fixed, penalty_of
from mlip_autopipec.work.ace.moments import Grid, Solution, fold_moments, solve
from mlip_autopipec.work.job import TaskFailed


@dataclass(frozen=True)
class LinearFit:
    """A basis with its coefficients, and how it came to them."""

    basis: ACEBBasisSet
    settings: FittedSettings
    chosen: Chosen | None  # None: every setting was named
    condition: float
    left_out: int


def fit(
    train: Sequence[Atoms], references: Mapping[str, float], asked: FitSettings
) -> ACEBBasisSet:
    """The basis with fitted coefficients."""
    return chosen_fit(train, references, asked).basis


def chosen_fit(
    train: Sequence[Atoms],
    references: Mapping[str, float],
    asked: FitSettings,
    cores: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> LinearFit:
    """Fit to labels; settings that are `auto` are chosen first.

    Raises TaskFailed: bad_input for a basis that is larger than there is, numerical if no
    coefficients come out.
    """
    settings, chosen = fixed(asked), None
    if settings is None:
        chosen = choose(train, references, asked, cores, progress)
        settings = chosen.settings
    grid, sums = chosen.sums if chosen and chosen.sums else (None, ())
    if grid is None:
        grid = Grid(
            tuple(sorted(asked.elements)), settings.cutoff_angstrom, settings.functions_per_element
        )
        sums = fold_moments(grid, train, [0] * len(train), references, asked.buffer_weight, cores)
    made = functions_of.columns(
        linear_basis(grid.elements, grid.cutoff_angstrom, grid.functions_per_element)
    )
    columns = functions_of.first_columns(made, settings.functions_per_element)
    penalty = penalty_of(functions_of.roughness(made)[columns], settings)
    found = solve(sums, settings.weights, penalty, columns)
    return LinearFit(
        _with(grid, settings, found), settings, chosen, found.condition, found.left_out
    )


def _with(grid: Grid, settings: FittedSettings, found: Solution) -> ACEBBasisSet:
    if not np.isfinite(found.coefficients).all():
        raise TaskFailed(
            "numerical", "the fit gave coefficients that are no numbers; a larger ridge may help"
        )
    basis = linear_basis(grid.elements, grid.cutoff_angstrom, settings.functions_per_element)
    basis.basis_coeffs = found.coefficients
    return basis
