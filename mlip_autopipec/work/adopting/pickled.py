"""pacemaker's data frames: pickles of pandas, gzipped or not.

A pickle may run anything as it is read. Nothing is loaded here but arrays, structures and tables:
each name that a pickle asks for must be one of the few classes and functions of numpy, pandas and
ase by which these are made again.
"""

import gzip
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

_SUFFIXES = (".pckl.gzip", ".pckl.gz", ".pkl.gzip", ".pkl.gz", ".pckl", ".pkl", ".pickle")
_GZIP = b"\x1f\x8b"
_ROOTS = frozenset({"ase", "numpy", "pandas"})
_CLASSES = frozenset(
    {
        *(
            "Atoms",
            "Atom",
            "Cell",
            "Symbols",
            "Parameters",
            "SinglePointCalculator",
            "FixAtoms",
            "FixCartesian",
        ),
        *("dtype", "ndarray", "float64", "float32", "int64", "int32", "bool_", "str_"),
        *("DataFrame", "Series", "Index", "RangeIndex", "Int64Index", "MultiIndex", "BlockManager"),
        *("SingleBlockManager", "StringDtype", "StringArray", "ObjectStringArray"),
    }
)
_MAKERS = frozenset(
    {
        *("_reconstruct", "scalar", "_frombuffer", "_unpickle_block", "new_block", "_new_Index"),
        *("__pyx_unpickle_BlockManager", "__pyx_unpickle_NDArrayBacked", "__pyx_unpickle_Enum"),
    }
)
_OTHERS = frozenset(
    {
        *(
            ("builtins", name)
            for name in (
                "slice",
                "list",
                "dict",
                "set",
                "tuple",
                "frozenset",
                "object",
                "bytearray",
            )
        ),
        *(("__builtin__", name) for name in ("slice", "list", "dict", "set", "tuple", "object")),
        *(("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"), ("_codecs", "encode")),
        *(("collections", "OrderedDict"), ("collections", "defaultdict")),
    }
)
#: pandas and pacemaker name it so; the others are what their users make of it.
_STRUCTURES = ("ase_atoms", "atoms", "structure")


def _attribute(owner: Any, name: str) -> Any:
    """What `getattr` is to such a pickle.

    It is how a table makes its blocks again, and a method of ASE's kept numbers.
    """
    is_class, module = isinstance(owner, type), str(getattr(owner, "__module__", ""))
    known = (
        module.startswith("pandas.core.internals")
        if is_class
        else module == "ase.calculators.singlepoint"
    )
    if not known or name.startswith("__"):
        raise pickle.UnpicklingError(
            f"it asks for {name} of {owner!r:.60}, which no table of labels needs"
        )
    return getattr(owner, name)


class _Restricted(pickle.Unpickler):
    """Loads what a table of labelled structures is made of."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "getattr" and module in {"builtins", "__builtin__"}:
            return _attribute
        if (module, name) in _OTHERS:
            return super().find_class(module, name)
        if module.partition(".")[0] in _ROOTS and name in _CLASSES | _MAKERS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no table of labels needs")


def is_pickled(path: Path) -> bool:
    """By its name."""
    return path.name.lower().endswith(_SUFFIXES)


def read_pickled(path: Path) -> list[Atoms]:
    """Each row as a structure whose `info` has the other columns.

    Raises UnpicklingError and ValueError.
    """
    import pandas as pd  # noqa: PLC0415 - python-ace brings it; a login node may have none, and needs it for this alone
    import pandas.core.internals.blocks  # noqa: PLC0415 - its names must be there before they are asked for

    content = path.read_bytes()
    if content.startswith(_GZIP):
        content = gzip.decompress(content)
    table = _Restricted(io.BytesIO(content)).load()
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"it holds a {type(table).__name__}; a pandas data frame is expected")  # noqa: TRY004
    column = next((name for name in _STRUCTURES if name in table.columns), None)
    if column is None:
        raise ValueError(f"it has no column ase_atoms, only {', '.join(map(str, table.columns))}")
    return [_row(row, column) for row in table.to_dict("records")]


def _row(row: dict[str, Any], column: str) -> Atoms:
    given = row[column]
    if not isinstance(given, Atoms):
        raise ValueError(  # noqa: TRY004 - a file is wrong, not a caller
            f"its column {column} holds a {type(given).__name__}; ASE's Atoms are expected"
        )
    atoms = given.copy()
    atoms.calc = given.calc
    taken = {
        str(name): value for name, value in row.items() if name != column and value is not None
    }
    atoms.info = {
        **atoms.info,
        **{name: value for name, value in taken.items() if not _is_nothing(value)},
    }
    return atoms


def _is_nothing(value: Any) -> bool:
    """A table has NaN where a row has no such value at all."""
    return isinstance(value, float) and bool(np.isnan(value))
