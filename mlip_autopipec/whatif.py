"""whatif: a campaign's fits redone on its recorded labels with other settings. No label is bought.

Each fit of the journal is planned by the same code from the same state, but for what the fits
before it have changed: the data set (labels and what γ meant for them), the current potential, and
what the gate said. Walks are not walked again: which labels there are, and which cycles were quiet,
stays as the journal has it.

Fits run on this machine, in a folder of their own; of the campaign's files labels are read, over
its transport. A linear fit is the same byte for byte as long as the settings, the number of its
cores, numpy's BLAS and the kind of processor are: rows are folded in an order that depends on the
cores, and rounding on the rest.
"""

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from mlip_autopipec.config.changes import (
    checked,
    merged,
    path_of,
    settings_of,
    value_at,
    with_value,
)
from mlip_autopipec.config.codes import outside
from mlip_autopipec.config.loader import LoadedConfig, load_changed
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.mistakes import nearest
from mlip_autopipec.contract.results.train import Errors
from mlip_autopipec.contract.trainer import evaluator_of, trainer_code
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Model, Phase, Verdict
from mlip_autopipec.data_models.digest import CycleSummary, Need, TrainingDigest
from mlip_autopipec.data_models.ids import attempt_file, batch_name
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.potential import Potential
from mlip_autopipec.data_models.state import TaskRecord, TaskStatus, WorkflowState
from mlip_autopipec.data_models.task import Task, TaskFile
from mlip_autopipec.errors import ConfigurationError, OperatorError
from mlip_autopipec.journal.replay import read
from mlip_autopipec.orchestration.contract import breach
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.strategies import closed, verdict_of
from mlip_autopipec.phases.training import Training
from mlip_autopipec.ports import Transport
from mlip_autopipec.process import SystemClock
from mlip_autopipec.schedulers.shipment import pack
from mlip_autopipec.schedulers.surroundings import as_a_task
from mlip_autopipec.site import python_of, way_there

#: Of the site file, what may be asked for: all else decides which labels there are.
SECTIONS = ("training", "convergence")
_BYTES_MAX = 2**30
_TEXT_MAX = 500
#: Libraries that take every core of the machine unless they are told.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ReplayedFit(Model):
    """One fit and what the gate said of it."""

    functions: int | None
    cutoff_angstrom: float | None
    train: Errors
    test: Errors
    gate: str = Field(description="pass, conditional or fail")
    gate_message: str = Field(alias="gate_words")
    promoted: bool
    sha256: str = Field(description="of the potential's first file")


class ReplayedCycle(Model):
    """The fit of one cycle by the journal, and with the settings that were asked for."""

    cycle: int
    labels: int = Field(description="files of labels that it added")
    journal: ReplayedFit | None = Field(description="None: the journal has no fit of this cycle")
    what_if: ReplayedFit | None = Field(description="None: this fit failed")
    failure: str = Field(default="", description="in the work half's words")

    @property
    def same(self) -> bool:
        """Whether both potentials are the same, byte for byte."""
        return bool(self.journal and self.what_if and self.journal.sha256 == self.what_if.sha256)


class JudgedFit(Model):
    """How the campaign ends by its rules, and its errors after the last closed cycle."""

    verdict: Verdict | None = Field(description="None: by these cycles the campaign goes on")
    reason: str
    cycle: int | None = Field(description="the first after which there is this verdict")
    needs: tuple[Need, ...]


class WhatIf(Model):
    """Both campaigns, side by side."""

    campaign: str
    settings: dict[str, str] = Field(description="what was asked for, by key")
    cycles: tuple[ReplayedCycle, ...]
    journal: JudgedFit
    what_if: JudgedFit
    folder: str = Field(default="", description="where the potentials are kept; empty: nowhere")
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class WhatIfQuestion:
    """The site file as it is, and with the changes."""

    loaded: LoadedConfig
    config: WorkflowConfig
    settings: Mapping[str, str]

    def at(self, state: WorkflowState) -> WorkflowConfig:
        """What was in force there by the journal, with the changes; the site file's if it has none.

        Raises ConfigurationError where the changes do not go with what was in force then.
        """
        if not state.settings:
            return self.config
        before = after = merged(state.settings, state.overrides)
        for key in self.settings:
            path = path_of(key)
            after = with_value(after, path, value_at(settings_of(self.config), path))
        return checked(after, before, f"with what was in force in cycle {state.cycle_index}")


def asked_of(loaded: LoadedConfig, changes: Sequence[str]) -> WhatIfQuestion:
    """The settings of `KEY=VALUE` words, judged as those of a site file.

    Raises ConfigurationError, naming the key, the value and what was expected, with the nearest
    key.
    """
    settings: dict[str, str] = {}
    for change in changes:
        key, mark, value = change.partition("=")
        if not mark or not value.strip():
            raise ConfigurationError(
                f"--set {change}: expected KEY=VALUE, such as training.ridge=1e-6"
            )
        section = key.partition(".")[0]
        if section not in SECTIONS or "." not in key:
            near = nearest(section, SECTIONS)
            question = (
                f"; did you mean {key.replace(section, near, 1)!r}?"
                if near and near != section
                else ""
            )
            raise ConfigurationError(
                f"--set {change}: {key} is no setting of a fit or of how it is judged; there are"
                f" training.… and convergence.…, as a site file has them{question}"
            )
        if key in settings:
            raise ConfigurationError(f"--set {change}: {key} is given twice")
        settings[key] = value.strip()
    if not settings:
        return WhatIfQuestion(loaded, loaded.config, settings)
    changed = load_changed(
        loaded.path, {tuple(key.split(".")): value for key, value in settings.items()}
    )
    return WhatIfQuestion(loaded, changed.config, settings)


async def kept_in(
    asked: WhatIfQuestion, scratch: Path, folder: Path | None, report: Callable[[str], None]
) -> WhatIf:
    """Replay in `scratch`, which is empty; the potentials go to `folder`, if there is to be one.

    `told` hears what is going on. Raises OperatorError if `folder` is there already.
    """
    if folder is not None:
        await asyncio.to_thread(_made, folder)
    replay, cycles = Replay(asked, scratch), list[ReplayedCycle]()
    async with aclosing(replay.run()) as fits:
        async for cycle in fits:
            cycles.append(cycle)
            report(f"cycle {cycle.cycle}: {'fitted' if cycle.what_if else 'the fit failed'}")
    if folder is not None and (scratch / "potentials").is_dir():
        await asyncio.to_thread(shutil.copytree, scratch / "potentials", folder / "potentials")
    journal, what_if = replay.judged()
    return WhatIf(
        campaign=replay.campaign,
        settings=dict(asked.settings),
        cycles=tuple(cycles),
        journal=journal,
        what_if=what_if,
        folder=str(folder or ""),
        notes=tuple(_notes(replay)),
    )


def _made(folder: Path) -> None:
    try:
        folder.mkdir()
    except FileExistsError:
        raise OperatorError(
            f"{folder} is there already, and is left as it is: name another folder"
        ) from None
    except OSError as error:
        raise OperatorError(f"{folder} cannot be made: {error.strerror}") from error


def _notes(replay: "Replay") -> Iterator[str]:
    yield "Walks and labels are the journal's: what other potentials would have met is not known."
    yield from replay.notes


class Replay:
    """One replay. `folder` is empty, and takes all that the fits read and write."""

    def __init__(self, asked: WhatIfQuestion, folder: Path) -> None:
        self._asked = asked
        self._folder = folder
        self._far = asked.config.site.transport.kind != "local"
        self._python = sys.executable if self._far else python_of(asked.config.site)
        self._payload = pack(outside(asked.config))
        self._state = WorkflowState()
        #: Of the replay, in the place of the journal's.
        self._datasets: tuple[FileRef, ...] = ()
        self._potential: Potential | None = None
        self._cycles: tuple[CycleSummary, ...] = ()
        self._digest: TrainingDigest | None = None
        #: The first verdict of the replay since the campaign began or was reopened.
        self._ended: tuple[int, Verdict, str] | None = None
        self._failed = False

    async def run(self) -> AsyncGenerator[ReplayedCycle, None]:
        """Each fit in its turn, as it ends; a fit that fails is the last.

        Raises OperatorError where there is no journal or no fit in it, ConfigurationError for a fit
        by a program that is not on this machine, and what the transport raises.
        """
        self._check_programs()
        records = await asyncio.to_thread(lambda: tuple(read(self._journal)))
        fits = _fits(record.event for record in records)
        if not any(
            isinstance(record.event, ev.PhaseStarted) and _is_training(record.event)
            for record in records
        ):
            raise OperatorError(
                f"there is no fit in the journal at {self._journal}: nothing to replay"
            )
        payload = self._folder / self._payload.path
        await asyncio.to_thread(_write, payload, self._payload.content)
        way = way_there(self._asked.loaded.config.site, SystemClock())
        try:
            for record in records:
                event, before = record.event, self._state
                self._state = evolve(before, event)
                if isinstance(event, ev.PhaseStarted) and _is_training(event):
                    replayed = await self._fit(
                        way.transport, before, event.tasks[0], fits.get(event.cycle)
                    )
                    yield replayed
                    if self._failed:
                        return
                elif isinstance(event, ev.CycleClosed):
                    self._close(before)
                elif isinstance(event, ev.CampaignReopened):
                    self._ended = None
        finally:
            await way.close()

    def judged(self) -> tuple[JudgedFit, JudgedFit]:
        """The journal's end, and what the rules that were asked for say of the replay."""
        journal = None
        if self._state.verdict is not None:
            journal = len(self._state.cycles) - 1, self._state.verdict, self._state.verdict_reason
        return _judged(journal, self._state.cycles), _judged(self._ended, self._cycles)

    @property
    def campaign(self) -> str:
        """Its name in the journal."""
        return self._state.campaign

    @property
    def notes(self) -> Iterator[str]:
        """What a reader should know of the settings."""
        if not self._state.settings:
            if self._state.config_sha256 != self._asked.loaded.sha256:
                yield (
                    "The site file has changed since the last daemon started: fits are replayed by"
                    " it as it is now."
                )
        elif settings_of(self._asked.loaded.config) != dict(self._state.settings):
            yield (
                "The site file says something else than the journal has in force: each fit is"
                " replayed with what was in force as it was made, and with what --set asks for."
            )

    @property
    def _journal(self) -> Path:
        return self._asked.loaded.config.campaign.folder / "journal"

    def _check_programs(self) -> None:
        training = self._asked.config.training
        programs = trainer_code(training.trainer).control().programs(training.keys_of_trainer())
        for key, path in programs.items():
            if not Path(path).exists():
                raise ConfigurationError(
                    f"training.{key} is {path}, which is not on this machine, and fits are"
                    f" replayed here: give one that is, by --set training.{key}=PATH"
                )

    def _replaced(self, state: WorkflowState) -> WorkflowState:
        """A state of the journal with what the replay has in its place."""
        update = {"datasets": self._datasets, "potential": self._potential, "cycles": self._cycles}
        return state.model_copy(update=update)

    async def _fit(
        self,
        transport: Transport,
        before: WorkflowState,
        recorded: Task,
        known: TrainingDigest | None,
    ) -> ReplayedCycle:
        planned = self._replaced(before)
        training = training_as(recorded, self._asked.at(before))
        (task,) = training.plan(planned)
        await self._bring(transport, task)
        outcome = await asyncio.to_thread(self._run, task)
        labels = sum(item.name == "label" for item in task.inputs)
        journal = _fit(known) if known else None
        if outcome.status != "done":
            self._failed = True
            message = f"{outcome.reason}: {outcome.message}"
            return ReplayedCycle(
                cycle=task.cycle, labels=labels, journal=journal, what_if=None, failure=message
            )
        record = TaskRecord(task=task, status=TaskStatus.DONE, outcome=outcome)
        done = planned.model_copy(
            update={"tasks": {task.id: record}, "current_phase": Phase.TRAINING}
        )
        digest = training.digest(done)
        self._digest = digest
        self._datasets = (*self._datasets, digest.dataset)
        if digest.promoted:
            self._potential = digest.potential
        return ReplayedCycle(cycle=task.cycle, labels=labels, journal=journal, what_if=_fit(digest))

    def _close(self, before: WorkflowState) -> None:
        """The cycle as it closes with the replay's fit."""
        digests = dict(before.digests)
        if Phase.TRAINING in digests and self._digest is not None:
            digests[Phase.TRAINING] = self._digest
        state = self._replaced(before).model_copy(update={"digests": digests})
        config = self._asked.at(before)
        self._cycles = (*self._cycles, closed(state, Policy.from_config(config)))
        self._digest = None
        if self._ended is None:
            answer = verdict_of(self._replaced(self._state), config.convergence)
            self._ended = (before.cycle_index, *answer) if answer else None

    async def _bring(self, transport: Transport, task: Task) -> None:
        """Every input that no fit of this replay has made."""
        for item in task.inputs:
            path = self._folder / item.file.path
            if path.is_file() and _sha256(path.read_bytes()) == item.file.sha256:
                continue
            content = await transport.read(item.file.path, size_max=_BYTES_MAX)
            if content is None:
                raise OperatorError(
                    f"{item.file.path} is not on the site any more, and the journal names it"
                )
            if (found := _sha256(content)) != item.file.sha256:
                message = f"its sha256 is {found}, in the journal {item.file.sha256}"
                raise OperatorError(f"{item.file.path} on the site has changed: {message}")
            await asyncio.to_thread(_write, path, content)

    def _run(self, task: Task) -> Outcome:
        """Run the task as its job would.

        Raises OperatorError where it leaves no outcome within its walltime.
        """
        workdir = self._folder / task.workdir
        content = TaskFile(campaign=self._state.campaign, **dict(task)).model_dump_json(indent=1)
        _write(workdir / "task.json", content.encode())
        job_name = batch_name(self._state.campaign, task.cycle, Phase.TRAINING, 0)
        arguments = [
            "--root",
            self._folder,
            "--workdir",
            task.workdir,
            "--uid",
            job_name,
            "--index",
            0,
            "--job-id",
            "whatif",
        ]
        command = [
            self._python,
            str(self._folder / self._payload.path),
            "task",
            *map(str, arguments),
        ]
        site = self._asked.config.site.model_copy(update={"root": self._folder})
        if not self._far and site.scheduler.is_the_machine:
            command = as_a_task(site, Phase.TRAINING, command)
        threads = dict.fromkeys(_THREADS, str(task.resources.cores))
        try:
            done = subprocess.run(
                command,
                cwd=workdir,
                env={**os.environ, **threads},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=task.resources.walltime_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            limit = f"{task.resources.walltime_s} s, the walltime of training"
            raise OperatorError(f"the fit of cycle {task.cycle} took more than {limit}") from None
        except OSError as error:
            raise OperatorError(f"{self._python} cannot be run: {error.strerror}") from error
        placed = self._folder / "outbox" / attempt_file(job_name, 0)
        try:
            outcome = Outcome.model_validate_json(placed.read_bytes())
        except (OSError, ValidationError):
            last = done.stdout.decode("utf-8", "replace").strip()[-_TEXT_MAX:]
            raise OperatorError(
                f"the fit of cycle {task.cycle} left no outcome; its last words: {last}"
            ) from None
        if broken := breach(outcome, task):
            raise OperatorError(f"the fit of cycle {task.cycle} is of no use: {broken}")
        return outcome


def training_as(recorded: Task, config: WorkflowConfig) -> Training:
    """The phase as it began then: from a potential of the user's, if the recorded task had one."""
    given = {item.name: item.file for item in recorded.inputs}
    start = config.start
    names = [f"given_{name}" for name in evaluator_of(config.training.trainer).graded]
    if start is None or names[0] not in given:
        return Training(config.model_copy(update={"start": None}))
    files = {start.potential: given[names[0]]}
    if start.active_set is not None and len(names) > 1 and names[1] in given:
        files[start.active_set] = given[names[1]]
    return Training(config, files)


def _is_training(event: ev.PhaseStarted) -> bool:
    return event.phase is Phase.TRAINING


def _fits(events: Iterable[ev.Event]) -> dict[int, TrainingDigest]:
    ended = (event for event in events if isinstance(event, ev.PhaseEnded))
    return {
        event.cycle: event.digest for event in ended if isinstance(event.digest, TrainingDigest)
    }


def _fit(digest: TrainingDigest) -> ReplayedFit:
    return ReplayedFit(
        functions=digest.functions,
        cutoff_angstrom=digest.potential.cutoff_angstrom,
        train=digest.train,
        test=digest.potential.test,
        gate=digest.verdict,
        gate_message=digest.gate,
        promoted=digest.promoted,
        sha256=digest.potential.file.sha256,
    )


def _judged(answer: tuple[int, Verdict, str] | None, cycles: Sequence[CycleSummary]) -> JudgedFit:
    cycle, verdict, reason = answer or (None, None, "")
    return JudgedFit(
        verdict=verdict, reason=reason, cycle=cycle, needs=cycles[-1].needs if cycles else ()
    )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def lines(found: WhatIf) -> list[str]:
    """For a terminal: each fit beside the journal's, then the verdicts."""
    heads = ("cycle", "labels", "functions", "energy, meV/atom", "force, meV/Å", "gate")
    rows = [heads, *(_row(cycle) for cycle in found.cycles)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    text += [
        f"cycle {cycle.cycle}: {_gate_text(cycle)}" for cycle in found.cycles if _gate_text(cycle)
    ]
    if found.cycles and all(cycle.same for cycle in found.cycles):
        text.append("Every potential is that of the journal, byte for byte.")
    text += [
        f"by the journal  {_verdict_text(found.journal)}",
        f"what if         {_verdict_text(found.what_if)}",
    ]
    text += _needs_rows(found)
    text += found.notes
    if found.folder:
        text.append(f"The potentials are in {found.folder}/potentials.")
    return text


def _row(cycle: ReplayedCycle) -> tuple[str, ...]:
    journal, other = cycle.journal, cycle.what_if

    def both(value: str, replayed: str) -> str:
        return f"{value} → {replayed}"

    def shown(fit: ReplayedFit | None, kind: str) -> str:
        if fit is None:
            return "–"
        values = {
            "functions": "?" if fit.functions is None else str(fit.functions),
            "energy": f"{fit.test.energy_mev_per_atom:.2f}",
            "force": f"{fit.test.force_mev_per_angstrom:.1f}",
            "gate": fit.gate,
        }
        return values[kind]

    kinds = ("functions", "energy", "force", "gate")
    pairs = (both(shown(journal, kind), shown(other, kind)) for kind in kinds)
    return (str(cycle.cycle), str(cycle.labels), *pairs)


def _gate_text(cycle: ReplayedCycle) -> str:
    if cycle.what_if is None:
        return f"the fit failed, {cycle.failure}"
    if cycle.journal is not None and cycle.what_if.gate == cycle.journal.gate:
        return ""
    return cycle.what_if.gate_message


def _verdict_text(judged: JudgedFit) -> str:
    if judged.verdict is None:
        return "no verdict: by these cycles the campaign goes on"
    return f"{judged.verdict} after cycle {judged.cycle}: {judged.reason}"


def _needs_rows(found: WhatIf) -> list[str]:
    before = {(need.condition, need.quantity): need for need in found.journal.needs}
    return [
        (
            f"{need.condition}, {need.quantity}:"
            f" {_bound(before.get((need.condition, need.quantity)))} → {_bound(need)} {need.unit}"
            f" of {need.need:.2f} needed"
        )
        for need in found.what_if.needs
    ]


def _bound(need: Need | None) -> str:
    if need is None:
        return "–"
    return f"{need.error:.2f}" + ("" if need.bound is None else f" (below {need.bound:.2f})")
