"""doctor: ask a site all that a campaign will need of it. Diagnosis tells what the answers mean.

Nothing is queued. What it leaves on the site is the work half, which a daemon would put there too.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlip_autopipec.config.codes import outside
from mlip_autopipec.config.rules.crystals import in_exploration, in_generation
from mlip_autopipec.config.schemas.site import SiteSection
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract import doctor
from mlip_autopipec.contract.doctor import A, Examination, Examined, Q
from mlip_autopipec.contract.engine import engine_code
from mlip_autopipec.contract.evaluator import evaluator_code
from mlip_autopipec.contract.measure import asked_of
from mlip_autopipec.contract.mistakes import dotted
from mlip_autopipec.contract.oracle import oracle_code, oracle_of
from mlip_autopipec.contract.trainer import name_of, trainer_code
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.finding import Colour, Finding
from mlip_autopipec.data_models.text import first_lines
from mlip_autopipec.doctor.diagnosis import Facts, diagnose
from mlip_autopipec.doctor.trials import announced, estimated, trial_lines
from mlip_autopipec.errors import AutopipecError, OperatorError, TransientError
from mlip_autopipec.examining import answer, question
from mlip_autopipec.ports import Transport
from mlip_autopipec.preview import preview
from mlip_autopipec.process import SystemClock, may_run_what_it_wrote
from mlip_autopipec.schedulers.seam import scheduler_code
from mlip_autopipec.schedulers.shipment import Shipment, close_to_others, pack
from mlip_autopipec.schedulers.surroundings import as_a_task
from mlip_autopipec.site import python_of, way_there
from mlip_autopipec.transports.shell import CHANNELS_MAX, ShellTransport

_TIMEOUT_S = 150.0
_EXAMINE_TIMEOUT_S = 300.0
#: Longer than a refused session is tried again.
_HELD_S = "2.5"
#: That do nothing, one after another: the first may find the far machine's disk cold.
_COMMANDS = 3
#: Of one label of a trial: a unit cell, but on one core.
_LABEL_TIMEOUT_S = 3600.0
#: Each code is tried where jobs of its phase would begin: behind their preparations.
_PREPARED_AS: Mapping[Examination[Any, Any], Phase] = {
    doctor.PYTHON: Phase.TRAINING,
    doctor.ENGINE: Phase.EXPLORATION,
    doctor.EVALUATOR: Phase.TRAINING,
    doctor.TEACHER: Phase.GENERATION,
    doctor.ORACLE: Phase.CALCULATION,
    doctor.MEASURE: Phase.TRAINING,
    doctor.TRAINER: Phase.TRAINING,
    doctor.TRIALS: Phase.CALCULATION,
    doctor.LABEL: Phase.CALCULATION,
}

#: Seconds since 1970, the file system with what is free on it, quotas, and whether the root does
#: what is built upon.
_LOOK = """
echo "AP-CLOCK $(date +%s.%N)"
echo "AP-DISK $(stat -f -c '%T %a %S %d' .)"
echo "AP-QUOTA $(quota -w 2>/dev/null | tail -n 1)"
d=.ap/doctor.$$
once() { # a second one must be refused
  "$@" 2>/dev/null || { echo "AP-STEP $1 is refused in $PWD"; return 1; }
  ! "$@" 2>/dev/null || { echo "AP-STEP $1 succeeds twice: it is not atomic"; return 1; }
}
once mkdir "$d" && once ln -sn x "$d/gate" && echo a >"$d/.new" && mv "$d/.new" "$d/whole" &&
  once ln "$d/whole" "$d/link" && [ "$(cat "$d/link")" = a ] || echo "AP-STEP $d cannot be written as it must"
rm -rf "$d"
"""  # noqa: E501 - text for another program


async def examine_site(config: WorkflowConfig) -> tuple[Finding, ...]:
    """Ask, and judge. Raises nothing that the site does wrong: that is a finding."""
    way = way_there(config.site, SystemClock())
    try:
        return diagnose(await _ask(config, way.transport))
    finally:
        await way.close()


async def try_oracle(config: WorkflowConfig) -> AsyncIterator[str]:
    """Trials of the oracle on the first prototype, line by line as they end; the cost comes first.

    Raises OperatorError in the oracle's own words if it gives no label.
    """
    way = way_there(config.site, SystemClock())
    try:
        shipment = pack(outside(config))
        await way.transport.write({shipment.path: shipment.content})
        codes = _Codes(config, way.transport, shipment)
        oracle = oracle_of(config.calculation.oracle, config.campaign.elements, "family")
        crystals = [prototype for _, prototype in (*in_generation(config), *in_exploration(config))]
        if not crystals:
            raise OperatorError(
                "doctor --oracle tries a crystal: give one in generation.prototypes or in a walker"
            )
        asked = doctor.TrialsQuestion(oracle=oracle, prototype=crystals[0])
        trials = (await codes.answer(doctor.TRIALS, asked)).trials
        far = config.site.transport
        yield announced(
            trials, "on this machine" if far.kind == "local" else f"on {far.host}, beside the queue"
        )
        tried = []
        for trial in trials:
            wanted = doctor.LabelQuestion(
                oracle=trial.oracle, prototype=crystals[0], cell=trial.cell
            )
            label = await codes.answer(doctor.LABEL, wanted, _LABEL_TIMEOUT_S)
            tried.append((trial, label))
            if len(tried) == 1:
                yield estimated(trials, label)
        for line in trial_lines(tried, config.calculation.first_labels):
            yield line
    finally:
        await way.close()


async def _ask(config: WorkflowConfig, transport: Transport) -> Facts:
    site, shipment = config.site, pack(outside(config))
    far, seen = site.transport, await asyncio.to_thread(preview, config)
    facts = Facts(
        way="this machine" if far.kind == "local" else f"{far.host} by {far.kind}, host key known",
        is_local=far.kind == "local",
        wrong=tuple(
            f"{dotted(mistake.path)}  {mistake.given} → {mistake.expected}"
            for mistake in seen.mistakes
        ),
        notes=seen.notes,
    )
    try:
        await transport.write({shipment.path: shipment.content})
        facts = await _looked(facts, transport)
        facts = replace(facts, open_to=await _open_to(site.others_may_write, transport))
        if isinstance(transport, ShellTransport):
            facts = replace(
                facts,
                command_s=await command_s(transport),
                sessions=(await _sessions(transport), CHANNELS_MAX),
            )
    except AutopipecError as error:
        return replace(facts, trouble=str(error))
    if far.kind == "local" and site.scheduler.is_the_machine:
        facts = replace(facts, local_jobs_compile=may_run_what_it_wrote())
    facts = replace(facts, queue=await queue_findings(site, transport))
    return replace(
        facts,
        examined={
            name: seen async for name, seen in _Codes(config, transport, shipment).examined()
        },
    )


async def queue_findings(site: SiteSection, transport: Transport) -> tuple[Finding, ...]:
    """What the scheduler finds, in its own way."""
    code = scheduler_code(site.scheduler.kind)
    try:
        return tuple(await code.findings(site, transport))
    except AutopipecError as error:
        return (
            Finding(
                about=site.scheduler.kind, colour=Colour.RED, seen=str(error), remedy=code.remedy
            ),
        )


async def _open_to(may_stay_open: bool, transport: Transport) -> tuple[str, bool]:  # noqa: FBT001 - as the site file says
    """What to say of others who may write there, and whether a daemon would refuse to start."""
    try:
        return await close_to_others(transport, may_stay_open=may_stay_open), False
    except OperatorError as error:
        return str(error), True


async def _sessions(transport: ShellTransport) -> int:
    """How many sessions the daemon will have: as many as it would open are opened at a time."""
    held = [transport.run(["sleep", _HELD_S], timeout_s=_TIMEOUT_S) for _ in range(CHANNELS_MAX)]
    await asyncio.gather(*held)
    return transport.sessions


async def command_s(transport: Transport) -> float:
    """Seconds that a command takes which does nothing: the shortest of a few, each in a new shell.

    The connection is there already. Raises TransientError if it breaks.
    """
    took_s = []
    for _ in range(_COMMANDS):
        began = time.monotonic()
        await transport.run(["true"], timeout_s=_TIMEOUT_S)
        took_s.append(time.monotonic() - began)
    return min(took_s)


async def _looked(facts: Facts, transport: Transport) -> Facts:
    began = time.time()
    done = await transport.run(["sh", "-s"], stdin=_LOOK.encode(), timeout_s=_TIMEOUT_S)
    skew_limits = (began, time.time())
    marked: dict[str, list[str]] = {"AP-CLOCK": [], "AP-DISK": [], "AP-QUOTA": [], "AP-STEP": []}
    said = done.stdout.decode("utf-8", "replace")
    for line in said.splitlines():
        mark, _, message = line.partition(" ")
        if mark in marked:
            marked[mark].append(message)
    try:
        there_s = float(marked["AP-CLOCK"][0])
        kind, blocks, block_bytes, inodes = marked["AP-DISK"][0].rsplit(maxsplit=3)
        free_bytes, free_inodes = int(blocks) * int(block_bytes), int(inodes)
    except (IndexError, ValueError) as error:
        message = (done.stderr or done.stdout).decode("utf-8", "replace")
        raise TransientError(
            f"the site's shell gave no usable answer; it begins: {first_lines(message)}"
        ) from error
    return replace(
        facts,
        clock_skew_s=_outside(there_s, *skew_limits),
        file_system=kind,
        free_bytes=free_bytes,
        free_inodes=free_inodes,
        quota=" ".join(marked["AP-QUOTA"]),
        steps="; ".join(marked["AP-STEP"]),
    )


def _outside(moment_s: float, began_s: float, ended_s: float) -> float:
    """How far a moment lies outside of the time in which it was asked for."""
    return min(moment_s - began_s, 0.0) + max(moment_s - ended_s, 0.0)


@dataclass(frozen=True)
class _Codes:
    """The codes of the site's Python."""

    config: WorkflowConfig
    transport: Transport
    shipment: Shipment

    async def examined(self) -> AsyncIterator[tuple[str, tuple[Examined, str]]]:
        """One after another; without its packages the rest would only say the same."""
        python = await self._examine(doctor.PYTHON, doctor.PythonQuestion())
        yield "python", (python, "")
        if not python.fit:
            return
        engine = self.config.exploration.engine
        if (running := engine_code(engine.kind)).examine:
            seen = await self._examine(doctor.ENGINE, doctor.EngineQuestion(engine=engine))
            yield running.about or engine.kind, (seen, running.remedy)
        evaluator = trainer_code(self.config.training.trainer).evaluator
        if (evaluating := evaluator_code(evaluator)).examine:
            seen = await self._examine(
                doctor.EVALUATOR, doctor.EvaluatorQuestion(evaluator=evaluator)
            )
            yield evaluating.about or evaluator, (seen, evaluating.remedy)
        oracle = oracle_of(self.config.calculation.oracle, self.config.campaign.elements)
        asked = doctor.OracleQuestion(
            oracle=oracle,
            elements=self.config.campaign.elements,
            distance_min_angstrom=self.config.distance_min_angstrom,
        )
        code = oracle_code(oracle.kind)
        yield code.about, (await self._examine(doctor.ORACLE, asked), code.remedy)
        generation = self.config.generation
        if generation.teacher is not None:
            walks = doctor.TeacherQuestion(
                teacher=generation.teacher, prototypes=generation.prototypes
            )
            yield "teacher", (await self._examine(doctor.TEACHER, walks), "")
        training = self.config.training
        if (fitting := trainer_code(training.trainer)).examine:
            fits = doctor.TrainerQuestion(trainer=training.trainer, keys=training.keys_of_trainer())
            seen = await self._examine(doctor.TRAINER, fits)
            yield fitting.about or name_of(training.trainer), (seen, fitting.remedy)
        for measure in asked_of(self.config.training.gate):
            if measure.code.examine:
                seen = await self._examine(
                    doctor.MEASURE, doctor.MeasureQuestion(kind=measure.kind)
                )
                yield measure.code.about or measure.kind, (seen, measure.code.remedy)

    async def answer(
        self, examination: Examination[Q, A], asked: Q, timeout_s: float = _EXAMINE_TIMEOUT_S
    ) -> A:
        """The answer of an examination of no code. Raises OperatorError, with why there is none."""
        found = await self._examine(examination, asked, timeout_s)
        if isinstance(found, Examined):
            raise OperatorError(f"doctor --oracle: {found.message}")
        return found

    async def _examine(
        self, examination: Examination[Q, A], asked: Q, timeout_s: float = _EXAMINE_TIMEOUT_S
    ) -> A | Examined:
        site = self.config.site
        command = [
            python_of(site),
            f"{site.root}/{self.shipment.path}",
            "examine",
            examination.name,
        ]
        command = as_a_task(site, _PREPARED_AS[examination], command)
        try:
            done = await self.transport.run(command, stdin=question(asked), timeout_s=timeout_s)
        except (AutopipecError, OSError) as error:
            return Examined(fit=False, message=str(error))
        found = answer(examination, done.stdout)
        if done.exit_status != 0 or found is None:
            said = (
                (done.stderr or done.stdout).decode("utf-8", "replace").strip().rpartition("\n")[2]
            )
            return Examined(fit=False, message=f"exit status {done.exit_status}: {said}")
        return found
