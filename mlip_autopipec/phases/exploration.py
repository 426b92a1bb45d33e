"""Exploration: the ladder of every structure; walkers that halted go on where they had come to.

A ladder is a row of stages. A cycle walks every stage that is open, from new seeds: a potential
that has learned a later stage may have unlearned an earlier one. Where a batch is chosen from all
that was met, the whole ladder is open from the first cycle: the choice has to see every condition.
With `selection.acquisition: gamma_window` the next stage opens, for the next cycle, when every
walker of the last open one has completed; it is never shut again. A cycle is quiet only if the
whole ladder was walked and completed.

A walker that halted goes on under the next potential, from the last step before the halt with γ
below gamma_select, or, where it was at no such place, from one that it dumped before it halted. It
then walks as many steps as one that starts anew, and only these count: what it had walked before
was under another potential and proves nothing about this one. Statistically it is a new run, and so
it is recorded. When several continuations in a row halt while they are still being re-thermalised,
the place is no good to start from, and the walker starts anew.

The levels of γ that a cycle walks at are the site file's, or follow a target in force: see
`orchestration/levels.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from mlip_autopipec.config.schemas.phases import WalkersSection
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.explore import Continuation, ExploreParameters, StructureFile, Walker
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.contract.tasks import Input
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.digest import ExplorationDigest, GammaLevels, Ladder, WalkerEnd
from mlip_autopipec.data_models.state import TaskRecord, WorkflowState
from mlip_autopipec.data_models.task import Task, make_task
from mlip_autopipec.errors import BugError
from mlip_autopipec.orchestration.levels import gamma_levels
from mlip_autopipec.orchestration.needs import RANDOM_EACH
from mlip_autopipec.phases.common import artefact, current_potential, done, potential_inputs
from mlip_autopipec.phases.seeds import seed_for

#: Needs are judged by audits of walks that met at most so many times the level up to which a walk
#: is quiet.
_AUDIT_LOUDNESS = 10.0
#: Looks at γ that pass before one may halt a walker: the first of them see the start, not the walk.
_GRACE_LOOKS = 5


class Exploration:
    """One task per walker. `files` are the user's structures, by their path in site.yaml."""

    def __init__(
        self, config: WorkflowConfig, files: Mapping[Path, FileRef] = MappingProxyType({})
    ) -> None:
        self._config = config
        self._files = files

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        """One task per structure, open stage, temperature, pressure and replica."""
        levels = self._levels(state)
        return tuple(
            self._task(state, levels, index, *start)
            for index, start in enumerate(self._starts(state))
        )

    @property
    def _wide(self) -> bool:
        """Whether walkers explore first.

        That means every stage from the first cycle, and γ halts only what is far out.
        """
        return self._config.selection.acquisition == "batch"

    def _levels(self, state: WorkflowState) -> GammaLevels:
        return gamma_levels(self._config.exploration, self._config.selection, state.cycles)

    def _task(
        self,
        state: WorkflowState,
        levels: GammaLevels,
        index: int,
        walker: Walker,
        files: tuple[Input, ...],
    ) -> Task:
        section = self._config.exploration
        parameters = ExploreParameters(
            walker=walker,
            label=walker.label,
            elements=self._config.campaign.elements,
            gamma_select=levels.select,
            gamma_halt=levels.halt,
            stride=section.stride,
            distance_min_angstrom=self._config.distance_min_angstrom,
            distances_min_angstrom=section.distances_min_angstrom,
            temperature_factor_max=section.temperature_factor_max,
            pressure_max_gpa=section.pressure_max_gpa,
            volume_factor_max=section.volume_factor_max,
            rethermalise_steps=section.continuation.rethermalise_steps,
            engine=section.engine,
            fingerprint=current_potential(state).fingerprint,
            evaluator=current_potential(state).evaluator,
            audit_frames=self._audit_frames(state),
            pool_frames=section.pool_frames if self._wide else 0,
            audit_gamma_max=_AUDIT_LOUDNESS * levels.quiet if levels.quiet is not None else None,
            gamma_grace_steps=_GRACE_LOOKS * section.stride if self._wide else 0,
        )
        resources = self._config.site.resources_of(Phase.EXPLORATION)
        inputs = (*potential_inputs(current_potential(state)), *files)
        return make_task(state.cycle_index, Phase.EXPLORATION, index, parameters, inputs, resources)

    def _audit_frames(self, state: WorkflowState) -> int:
        """Frames that each walker keeps at random.

        They are enough for the needs, and for a remedy that trains on some.
        """
        needs = self._config.convergence.needs
        remedy = state.cycles[-1].remedy if state.cycles else None
        random_frames = RANDOM_EACH if remedy and remedy.random_frames else 0
        return max(self._config.selection.audit, needs.audits_min if needs else 0) + random_frames

    def digest(self, state: WorkflowState) -> ExplorationDigest:
        """How each walker ended; a walker whose task failed for good has no ending."""
        outcomes = list(done(state, ExploreMetrics))
        walkers = tuple(self._walker_end(record) for record in state.own_tasks)
        levels = self._levels(state)
        return ExplorationDigest(
            walkers=walkers,
            frames=tuple(artefact(outcome, "frames") for _, outcome, _ in outcomes),
            ladders=tuple(_climbed(ladder, walkers) for ladder in self._ladders(state)),
            levels=_walked_at(state, levels),
        )

    def _ladders(self, state: WorkflowState) -> Iterator[Ladder]:
        """What this cycle walks of every ladder."""
        before = {ladder.group: ladder.open for ladder in state.ladders}
        for group, section in enumerate(self._config.exploration.walkers):
            stages = len(section.ladder())
            walked = stages if self._wide else min(before.get(group, 1), stages)
            yield Ladder(group=group, stages=stages, walked=walked, open=walked)

    def _starts(self, state: WorkflowState) -> Iterator[tuple[Walker, tuple[Input, ...]]]:
        """Every walker of the open stages, and the file that it starts from if there is one."""
        for ladder in self._ladders(state):
            section = self._config.exploration.walkers[ladder.group]
            for rung, stage in enumerate(section.ladder()[: ladder.walked]):
                for condition in stage.conditions:
                    yield self._start(
                        state, self._walker(state.cycle_index, ladder.group, rung, stage, condition)
                    )

    def _start(self, state: WorkflowState, walker: Walker) -> tuple[Walker, tuple[Input, ...]]:
        before = state.halted.get(walker.key)
        bound = self._config.exploration.continuation.at_once_max
        if before and before.restart and before.resume and before.resume.at_once < bound:
            onward = replace(walker, continues=before.resume)
            return onward, (Input(name="restart", file=before.restart),)
        file = self._config.exploration.walkers[walker.group].source
        inputs: tuple[Input, ...] = (
            (Input(name="structure", file=self._files[file]),) if file else ()
        )
        if walker.pool:  # what is labelled already is offered no more
            inputs += tuple(Input(name="dataset", file=each) for each in state.datasets)
        return walker, inputs

    def _walker(
        self,
        cycle: int,
        group: int,
        rung: int,
        stage: WalkersSection,
        condition: tuple[float, float, int],
    ) -> Walker:
        temperature_kelvin, pressure_gpa, replica = condition
        purpose = ("exploration", cycle, group, *condition, *((f"stage {rung}",) if rung else ()))
        return Walker(
            prototype=stage.prototype,
            file=StructureFile(name=stage.source.name, repeat=stage.repeat)
            if stage.source
            else None,
            pool=stage.pool is not None,
            ensemble=stage.ensemble,
            barostat=stage.barostat,
            temperature_kelvin=temperature_kelvin,
            pressure_gpa=pressure_gpa,
            steps=max(stage.steps, 1),
            timestep_fs=stage.timestep_fs,
            seed=seed_for(self._config.campaign.seed, *purpose),
            deform=stage.deform,
            swaps=stage.swaps,
            group=group,
            stage=rung,
            replica=replica,
        )

    def _walker_end(self, record: TaskRecord) -> WalkerEnd:
        task, parameters = record.task, record.task.parameters
        if not isinstance(parameters, ExploreParameters):
            raise BugError(f"{task.id} is no walker")
        walker = parameters.walker
        metrics = record.outcome.metrics if record.outcome else None
        end = WalkerEnd(
            task=task.id,
            label=walker.label,
            key=walker.key,
            stage=walker.stage,
            continues=walker.continues,
            ending=None,
            steps=0,
            gamma_max=0.0,
            frames_collected=0,
        )
        if record.outcome is None or not isinstance(metrics, ExploreMetrics):
            return end
        restart = record.outcome.artefacts.get("restart")
        update = {
            name: getattr(metrics, name)
            for name in ("ending", "steps", "gamma_max", "frames_collected", "time_ps")
        }
        resume = _resume(task, walker, metrics, parameters.rethermalise_steps)
        # it never came to a better place than the one it began at
        if resume is not None and restart is None:
            restart = next(item.file for item in task.inputs if item.name == "restart")
        return end.model_copy(
            update={**update, "resume": resume, "restart": restart if resume else None}
        )


def _walked_at(state: WorkflowState, levels: GammaLevels) -> GammaLevels:
    """What the walkers were told, whatever the site file has come to say while they walked."""
    for record in state.own_tasks:
        parameters = record.task.parameters
        if isinstance(parameters, ExploreParameters) and (
            parameters.gamma_select,
            parameters.gamma_halt,
        ) != (
            levels.select,
            levels.halt,
        ):
            return GammaLevels(
                select=parameters.gamma_select, halt=parameters.gamma_halt, quiet=levels.quiet
            )
    return levels


def _climbed(ladder: Ladder, walkers: tuple[WalkerEnd, ...]) -> Ladder:
    """One stage more is open if every walker of the last one has completed."""
    last = [
        walker
        for walker in walkers
        if walker.key.startswith(f"{ladder.group}.{ladder.walked - 1}.")
    ]
    completed = bool(last) and all(walker.ending is Ending.COMPLETED for walker in last)
    return ladder.model_copy(update={"open": min(ladder.walked + completed, ladder.stages)})


def _resume(
    task: Task, walker: Walker, metrics: ExploreMetrics, rethermalise_steps: int
) -> Continuation | None:
    """Where a halted walker may go on; None for others, and for one never at a good place."""
    before = walker.continues
    if metrics.ending is not Ending.HALTED:
        return None
    at_once = before.at_once + 1 if before and metrics.steps <= rethermalise_steps else 0
    if metrics.restart_step is None:
        return replace(before, at_once=at_once) if before else None
    steps_before = (before.steps_before if before else 0) + metrics.restart_step
    return Continuation(
        task=task.id,
        cycle=task.cycle,
        step=metrics.restart_step,
        steps_before=steps_before,
        at_once=at_once,
    )
