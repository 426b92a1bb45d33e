"""The engine, where the jobs run."""

from collections.abc import Sequence

from mlip_autopipec.contract.doctor import Examined
from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.work.codes.engine import Ran
from mlip_autopipec.work.codes.evaluator import PotentialFiles
from mlip_autopipec.work.codes.lammps.wheel import WheelEngine
from mlip_autopipec.work.evaluation import Evaluator
from mlip_autopipec.work.job import AnyJob, TaskFailed
from toy_codes.counted.settings import CountedEngine


def make(
    settings: CountedEngine,
    potential: PotentialFiles,
    evaluator: Evaluator,
    elements: Sequence[str],
) -> "Counted":
    """The engine of a walker."""
    del potential
    return Counted(settings, evaluator, elements)


class Counted(WheelEngine):
    """See work/codes/engine.py for what it promises."""

    def __init__(
        self, settings: CountedEngine, evaluator: Evaluator, elements: Sequence[str]
    ) -> None:
        super().__init__(evaluator, elements)
        self._settings = settings

    def run(self, job: AnyJob, parameters: ExploreParameters, script: str, name: str) -> Ran:
        """As the wheel does."""
        with (job.workdir / "runs.txt").open("a+") as runs:
            runs.write(f"{name}\n")
            runs.seek(0)
            if len(runs.readlines()) > self._settings.runs_max:
                raise TaskFailed("crashed", f"more than {self._settings.runs_max} runs")
        return super().run(job, parameters, script, name)


def examine(settings: CountedEngine) -> Examined:
    """It is there with the wheel."""
    return Examined(fit=True, message=f"up to {settings.runs_max} runs of the wheel")
