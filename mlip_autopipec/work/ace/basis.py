"""The linear ACE basis: which functions it has, and how many there can be.

Each element takes its functions in order of a complexity: every factor of a function costs 3, and
so much more as its radial function is above the first (n - 1) and as its angular momentum is high
(0.8 l). So a basis of 300 functions begins one of 500, and of a large design matrix the columns of
every smaller basis can be taken (`first_columns`). A factor costs more than in python-ace's
`power_order` because sharper three-body functions teach more than functions of five bodies: with
500 functions on molybdenum (Zuo et al., J. Phys. Chem. A 124, 731 (2020)) the error in
cross-validation is 2.4 meV/atom and 95 meV/Å instead of 2.6 and 98, with 300 it is 3.0 and 105
instead of 3.2 and 109.
"""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from pyace import ACEBBasisSet
from pyace.basis import BBasisConfiguration, BBasisFunctionSpecification
from pyace.multispecies_basisextension import (
    create_species_block_without_funcs,
    generate_blocks_specifications_dict,
    unify_mus_ns_comb,
)

from mlip_autopipec.contract.train import functions_max
from mlip_autopipec.work.job import TaskFailed

#: Tenths of complexity: of a factor, of a step in n, of a step in l.
_FACTOR, _RADIAL, _ANGULAR = 30, 10, 8
#: Upper bounds of radial functions and angular momenta by correlation order; beyond them the cost
#: of each function's gradient rises with the square of l and with n, whatever it adds.
_NRADMAX = (20, 8, 7, 5, 3)
_LMAX = (0, 6, 5, 4, 2)


@dataclass(frozen=True, order=True)
class Function:
    """One function of an element: a product of factors, one for each neighbour that it couples."""

    complexity: int
    elements: tuple[str, ...]  # of the neighbours
    ns: tuple[int, ...]  # radial functions, from 1
    ls: tuple[int, ...]  # angular momenta
    couplings: tuple[int, ...]  # intermediate momenta


def linear_basis(
    elements: Sequence[str], cutoff_angstrom: float, functions_per_element: int
) -> ACEBBasisSet:
    """A basis with an energy linear in its coefficients, and exactly so many functions per element.

    Raises TaskFailed (bad_input) if more are asked for than there are.
    """
    largest = functions_max(len(elements))
    if functions_per_element > largest:
        raise TaskFailed(
            "bad_input",
            f"{functions_per_element} functions per element are more than the basis of"
            f" {len(elements)} elements has: {largest}",
        )
    names = tuple(sorted(elements))
    chosen = _simplest(names, functions_per_element)
    nradmax = max((max(function.ns) for function in chosen if len(function.ns) > 1), default=1)
    nradbase = max(nradmax, *(max(function.ns) for function in chosen))
    configuration = BBasisConfiguration()
    configuration.deltaSplineBins = 0.001
    configuration.funcspecs_blocks = [
        _block(names_of_block, specification, chosen)
        for names_of_block, specification in generate_blocks_specifications_dict(
            {
                "elements": list(names),
                "embeddings": {
                    "ALL": {
                        "npot": "FinnisSinclairShiftedScaled",
                        "fs_parameters": [1, 1],
                        "ndensity": 1,
                    }
                },
                "bonds": {
                    "ALL": {
                        "radbase": "SBessel",
                        "radparameters": [5.25],
                        "rcut": cutoff_angstrom,
                        "dcut": 0.01,
                        "NameOfCutoffFunction": "cos",
                    }
                },
                "functions": {
                    "ALL": {
                        "nradmax_by_orders": [nradbase, nradmax],
                        "lmax_by_orders": [0, max(max(function.ls) for function in chosen)],
                    }
                },
            }
        ).items()
    ]
    configuration.validate(raise_exception=True)
    return ACEBBasisSet(configuration)


def count_functions(basis: ACEBBasisSet) -> list[int]:
    """Functions per element, in the order of the basis."""
    return [
        len(rank1) + len(higher)
        for rank1, higher in zip(basis.basis_rank1, basis.basis, strict=True)
    ]


def columns(basis: ACEBBasisSet) -> list[list[Function]]:
    """The functions of each element, in the order of the design matrix's columns."""
    names = basis.elements_name
    return [
        [
            _function([names[mu] for mu in function.mus], function.ns, function.ls, function.LS)
            for function in (*rank1, *higher)
        ]
        for rank1, higher in zip(basis.basis_rank1, basis.basis, strict=True)
    ]


def first_columns(
    functions: Sequence[Sequence[Function]], functions_per_element: int
) -> np.ndarray:
    """Of a large basis, the columns that make that of so many functions per element; ascending."""
    found, offset = list[int](), 0
    for of_element in functions:
        simplest = sorted(range(len(of_element)), key=lambda column: of_element[column])
        found += [offset + column for column in simplest[:functions_per_element]]
        offset += len(of_element)
    return np.array(sorted(found))


def roughness(functions: Sequence[Sequence[Function]]) -> np.ndarray:
    """How fast each function varies, shape (n_functions,).

    It is the sum of n + l over its factors; 1 for the smoothest.
    """
    return np.array(
        [
            float(sum(function.ns) + sum(function.ls))
            for of_element in functions
            for function in of_element
        ]
    )


def _block(
    names: tuple[str, ...], specification: Mapping[str, Any], chosen: Sequence[Function]
) -> Any:
    """Functions of the first element whose neighbours are, with it, just the others."""
    block = create_species_block_without_funcs(list(names), specification)
    block.funcspecs = [
        BBasisFunctionSpecification(
            elements=(names[0], *function.elements),
            ns=function.ns,
            ls=function.ls,
            LS=function.couplings,
            coeffs=[0.0],
        )
        for function in chosen
        if {names[0], *function.elements} == set(names)
    ]
    return block


@cache
def _simplest(elements: tuple[str, ...], count: int) -> tuple[Function, ...]:
    """The `count` functions of least complexity. The same for each element in the centre."""
    bound = 2 * _FACTOR
    while len(found := list(_functions(elements, bound))) < count:
        bound += _RADIAL
    return tuple(sorted(found)[:count])


def _functions(elements: tuple[str, ...], bound: int) -> Iterator[Function]:
    """Every function up to a complexity.

    python-ace's table has the couplings that are independent of each other.
    """
    table = _couplings()
    for factors, (nradmax, lmax) in enumerate(zip(_NRADMAX, _LMAX, strict=True), start=1):
        radial = [(element, n) for element in elements for n in range(1, nradmax + 1)]
        for chosen in _multisets(radial, factors, bound - _FACTOR * factors):
            names, ns = [element for element, _ in chosen], [n for _, n in chosen]
            for ls, couplings in table.get(unify_mus_ns_comb(names, ns), ()):
                if (
                    max(ls) <= lmax
                    and (function := _function(names, ns, ls, couplings)).complexity <= bound
                ):
                    yield function


def _multisets(
    radial: Sequence[tuple[str, int]], factors: int, bound: int
) -> Iterator[tuple[tuple[str, int], ...]]:
    """Every choice of so many radial functions whose steps in n cost no more than the bound.

    Repeats are allowed.
    """
    if factors == 0:
        yield ()
        return
    for index, (element, n) in enumerate(radial):
        if (left := bound - _RADIAL * (n - 1)) >= 0:
            for rest in _multisets(radial[index:], factors - 1, left):
                yield ((element, n), *rest)


def _function(
    elements: Sequence[str], ns: Sequence[int], ls: Sequence[int], couplings: Sequence[int]
) -> Function:
    complexity = _FACTOR * len(ns) + _RADIAL * (sum(ns) - len(ns)) + _ANGULAR * sum(ls)
    return Function(complexity, tuple(elements), tuple(ns), tuple(ls), tuple(couplings))


@cache
def _couplings() -> Mapping[tuple[int, ...], Sequence[tuple[Sequence[int], Sequence[int]]]]:
    """Pattern of equal factors → (ls, LS) of its independent functions."""
    path = files("pyace.data").joinpath("mus_ns_uni_to_rawlsLS_np_rank.pckl")
    table: Mapping[Any, Any] = pickle.loads(path.read_bytes())  # noqa: S301 - a part of the installed python-ace
    return table
