"""The seam of oracles: what a code declares that gives energy, forces and stress of a structure.

A folder of such a code has `__init__.py` with an OracleCode; `settings.py` with what a site file
says and what a task carries; `rules.py` for the control half; `run.py` and `doctor.py` for the work
half, where the jobs run. The first three import the standard library and `contract/` alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from mlip_autopipec.contract import registry
from mlip_autopipec.contract.mistakes import Mistake
from mlip_autopipec.contract.values import value

#: What a k-mesh is counted from: the cell at hand, as it was before there was a choice, or the
#: family's reference.
KMesh = Literal["cell", "family"]


@value
class Oracle:
    """What an oracle is told.

    `kind` is its name in the registry; each has a `kind` of its own, with that default.
    """

    kind: str


S = TypeVar("S", bound=Oracle)
T = TypeVar("T", bound=Oracle)


@dataclass(frozen=True)
class SiteFile:
    """Of a site file what an oracle may look at beside its own section."""

    elements: tuple[str, ...] = ()  # none where they are wrong, which is told elsewhere
    here: bool = True  # whether the jobs' files are this machine's
    #: A path as it is written → the absolute one.
    absolute: Callable[[Path], Path] = Path


@dataclass(frozen=True)
class OracleWishes:
    """What a person asked of the oracle in a first site file."""

    elements: tuple[str, ...]
    #: A path as it is to stand in the site file.
    relative: Callable[[Path], str]
    calculator: str | None = None
    pseudo_folder: Path | None = None
    sssp_file: Path | None = None
    insulator: bool = False


class OracleRules(Generic[S, T]):
    """What the control half asks of an oracle. Each method answers for one with nothing to add.

    `section` is calculation.oracle of a site file whose values are right in themselves. A mistake's
    path is relative to that section.
    """

    def mistakes(self, section: S, elements: tuple[str, ...]) -> Iterator[Mistake]:
        """What is wrong in the section, by itself and beside the campaign's elements.

        No elements are given where those are wrong.
        """
        del section, elements
        yield from ()

    def missing(self, section: S, site_file: SiteFile) -> Iterator[Mistake]:
        """What is wrong in the files of this machine that the section names."""
        del section, site_file
        yield from ()

    def settled(self, section: S, elements: tuple[str, ...]) -> S:
        """The section with what is in those files, so a file changed later changes nothing unseen.

        Paths in it are absolute.
        """
        del elements
        return section

    def oracle(self, section: S, elements: Sequence[str], k_mesh: KMesh) -> T:
        """What tasks carry. `k_mesh` is the rule that the campaign began with."""
        raise NotImplementedError(f"{type(self).__name__} does not say what tasks carry")

    def no_isolated_atoms(self, section: S, elements: Sequence[str]) -> Iterator[str]:
        """Why it cannot calculate an atom alone in a box; nothing if it can.

        It is said in the words of what was expected.
        """
        del section, elements
        yield from ()

    def citations(self, section: S) -> Mapping[str, str]:
        """What a paper cites that has used it: BibTeX entries by their keys."""
        del section
        return {}

    def first_section(self, wishes: OracleWishes) -> str:
        """The lines of `calculation.oracle` in a first site file, two blanks in.

        Raises ValueError for no such wish.
        """
        del wishes
        raise ValueError(
            "there is no first site file with this oracle: write calculation.oracle by hand"
        )

    def first_resources(self, *, cluster: bool) -> str:
        """The line `calculation: {…}` of site.resources in a first site file; empty without one."""
        return "    calculation: {memory: 4 GiB, walltime: 1 h}" if cluster else ""

    def is_quick(self, wishes: OracleWishes) -> bool:
        """Whether a label costs next to nothing, so that the walks should be short, too."""
        del wishes
        return False


@dataclass(frozen=True)
class OracleTrial:
    """One label for `doctor --oracle`: what is varied, and what it costs beside the first trial."""

    kind: str  # what is varied; `as asked` where nothing is
    description: str
    oracle: Oracle
    cell: Literal["moved", "twin"]  # the cell with a moved atom, or the same twice as large
    cost: float
    #: The key of calculation.oracle that this kind varies and its value here, where a smaller one
    #: is finer; doctor then says which is enough. Trials with the site file's own settings have it,
    #: too.
    key: str = ""
    value: float = 0.0


@dataclass(frozen=True, kw_only=True)
class OracleCode:
    """An oracle's declaration. Paths are `.module:ATTRIBUTE` from `package`, loaded when needed.

    Of the work half, `Atoms` are ASE's, Numbers those of work/structures.py, Job that of
    work/job.py:

    - `run`: (job, oracle, atoms) → (Numbers, OracleNotes, whose `settings` name all that gives a
      label its meaning). Raises TaskFailed.
    - `examine`: (oracle, elements, distance_min_angstrom) → an Examined (contract/doctor.py); not
      sure is what may be otherwise where jobs run. Raises TaskFailed.
    - `trials`: (oracle, moved, twin) → the OracleTrials of `doctor --oracle`, the site file's own
      settings first.
    """

    package: str
    settings: str
    task_settings: str = field(default="")  # as `settings` if left out
    rules: str
    run: str
    examine: str
    trials: str = ""  # empty: the site file's own settings in every cell of the first crystal
    about: str  # how doctor's line about it begins
    remedy: str  # what doctor says to do where it is not fit
    # keys of its section that may change under way: no label's meaning depends on them
    running: tuple[str, ...] = ()
    disk_mib: float = 0.0  # that one label leaves on the site's disk, beside what any task does
    tried_at_start: bool = (
        False  # examined before a campaign's first label; what is sure is refused
    )

    @property
    def section(self) -> type[Oracle]:
        """What stands under calculation.oracle."""
        found: type[Oracle] = registry.load(self.settings, self.package)
        return found

    @property
    def task(self) -> type[Oracle]:
        """What a task carries."""
        found: type[Oracle] = registry.load(self.task_settings or self.settings, self.package)
        return found

    def control(self) -> OracleRules[Any, Any]:
        """Its rules, for the control half."""
        found: OracleRules[Any, Any] = registry.load(self.rules, self.package)()
        return found

    def work(self, part: Literal["run", "examine", "trials"]) -> Callable[..., Any]:
        """One of its parts of the work half."""
        found: Callable[..., Any] = registry.load(getattr(self, part), self.package)
        return found


def oracle_code(kind: str) -> OracleCode:
    """The declaration of an oracle by its kind. Raises UnknownCode."""
    found: OracleCode = registry.find("oracles", kind)
    return found


def keys_of_running() -> tuple[str, ...]:
    """Keys of calculation.oracle that say how it runs and not what a label means."""
    return free_keys(
        (oracle_code(name).running, kind)
        for name, kind in registry.usable("oracles", "section").items()
    )


def free_keys(oracles: Iterable[tuple[Sequence[str], type]]) -> tuple[str, ...]:
    """Keys that each oracle which has them lets go: none frees another's.

    Given is what each lets go, and its section.
    """
    every = list(oracles)
    held = {
        each.name
        for running, section in every
        for each in fields(section)
        if each.name not in running
    }
    return tuple(dict.fromkeys(key for running, _ in every for key in running if key not in held))


def rules_of(section: Oracle) -> OracleRules[Any, Any]:
    """The rules of the oracle that this section is of."""
    return oracle_code(section.kind).control()


def oracle_of(section: Oracle, elements: Sequence[str], k_mesh: KMesh = "cell") -> Oracle:
    """What tasks of a campaign carry that began with this rule for k-meshes.

    What stands in files has been read.
    """
    found: Oracle = rules_of(section).oracle(section, elements, k_mesh)
    return found
