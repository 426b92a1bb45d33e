"""changing: what a campaign makes of another site file, or of `set`, while it goes on. Pure.

Settings in force are a fold over the journal like everything else: those of the site file that was
last taken, with what `set` has said beside it. So a daemon that is killed anywhere in a reload has
either taken the file or not, and the next one compares the file with what is in force, whatever was
lost.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

from pydantic import JsonValue

from mlip_autopipec.config.changes import (
    CampaignProgress,
    Difference,
    Settings,
    asks_for_more,
    checked,
    config_of,
    differences,
    merged,
    note_of,
    objection,
    path_of,
    rule_of,
    settings_of,
    value_at,
    waits,
    whole,
    with_value,
)
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.config.shape import keys
from mlip_autopipec.contract.mistakes import KeyPath, clipped, dotted, nearest
from mlip_autopipec.contract.trainer import trainer_code
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.state import TaskStatus, WorkflowState
from mlip_autopipec.errors import ConfigurationError
from mlip_autopipec.orchestration.machine import evolve, unexplored
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.restart import after_change

#: Under the campaign's folder: structures that people have added, one a file.
ADDED = "added"
_WALKERS: KeyPath = ("exploration", "walkers")
#: What walkers from an added structure have of the first of the site file.
_CONDITIONS = frozenset(
    {
        "ensemble",
        "barostat",
        "temperatures_kelvin",
        "pressures_gpa",
        "replicas",
        "steps",
        "timestep_fs",
    }
)


#: Of the sections of the site file, what the tasks of each phase carry.
_EVERYWHERE = ("distance_min_angstrom", "campaign.seed")
_CARRIED: Mapping[Phase, tuple[str, ...]] = {
    Phase.GENERATION: (
        *_EVERYWHERE,
        "generation",
        "dataset.",
        "calculation.force_max",
        "calculation.pressure_max",
    ),
    Phase.EXPLORATION: (*_EVERYWHERE, "exploration", "selection.audit", "selection.acquisition"),
    Phase.SELECTION: (
        *_EVERYWHERE,
        "selection",
        "exploration.gamma_select",
        "exploration.force_error_target",
    ),
    Phase.CALCULATION: ("calculation.oracle", "calculation.force_max", "calculation.pressure_max"),
    Phase.TRAINING: (*_EVERYWHERE, "training", "convergence.needs"),
}
_OPEN = frozenset({TaskStatus.READY, TaskStatus.SUBMITTED, TaskStatus.FAILED})
_NAMED_MAX = 3


@dataclass(frozen=True, slots=True)
class Change:
    """What a site file would change, and what of it may not be."""

    settings: Settings
    overrides: Mapping[str, JsonValue]
    changes: tuple[ev.SettingChange, ...]
    #: Left to the next start, with the reason.
    waiting: tuple[tuple[ev.SettingChange, str], ...] = ()
    #: What may not change now, with the reason. If there is any, nothing is taken.
    refused: tuple[tuple[ev.SettingChange, str], ...] = ()
    #: What `set` had said, and the file says otherwise now.
    given_way: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    #: Whether walkers go where none went before.
    more: bool = False

    def is_news(self, state: WorkflowState) -> bool:
        """Whether anything of it is to be written down."""
        return (self.settings, self.overrides) != (state.settings, state.overrides)

    def lines(self) -> tuple[str, ...]:
        """All of it, one line each."""
        return (
            *(f"refused: {change_text(change)}: {why}" for change, why in self.refused),
            *(change_text(change) for change in self.changes),
            *(
                f"waits for the next start: {change_text(change)}: {why}"
                for change, why in self.waiting
            ),
            *(f"{key} was set by hand, and follows the site file again" for key in self.given_way),
            *self.notes,
        )

    def refusal(self, source: str) -> ConfigurationError | None:
        """The error that tells what may not change; None if all may."""
        if not self.refused:
            return None
        lines = "\n".join(f"- {change_text(change)}: {why}" for change, why in self.refused)
        return ConfigurationError(
            f"{source} changes what this campaign cannot change, so nothing of it is"
            f" taken:\n{lines}"
        )


def change_text(change: ev.SettingChange) -> str:
    """A change as `convergence.cycles_max: 30 → 40`."""
    return f"{change.key}: {_shown(change.before)} → {_shown(change.after)}"


def _shown(value: JsonValue) -> str:
    return (
        "nothing"
        if value is None
        else clipped(value if isinstance(value, str) else json.dumps(value))
    )


def progress_of(state: WorkflowState, *, starting: bool) -> CampaignProgress:
    """How far the campaign is, as far as changes ask."""
    calculations = (record.task.phase is Phase.CALCULATION for record in state.tasks.values())
    planned = state.current_phase is Phase.CALCULATION or Phase.CALCULATION in state.digests
    labels = (
        bool(state.datasets or state.cycles or state.quarantine) or planned or any(calculations)
    )
    return CampaignProgress(
        has_labels=labels, has_potential=state.potential is not None, starting=starting
    )


def change_to(state: WorkflowState, config: WorkflowConfig, *, starting: bool) -> Change | None:
    """What taking this site file would change; None if it says what is in force.

    A campaign of before settings were kept has nothing to compare with: whatever the file says is
    taken.
    """
    settings = settings_of(config)
    if not state.settings:
        return Change(settings, {}, ())
    progress = progress_of(state, starting=starting)
    old, taken = whole(state.settings), dict(settings)
    changes: list[ev.SettingChange] = []
    waiting: list[tuple[ev.SettingChange, str]] = []
    refused: list[tuple[ev.SettingChange, str]] = []
    notes: list[str] = []
    for found in differences(old, whole(settings)):
        change = _change(found)
        if (
            why := objection(found.path, progress) or _other_evaluator(state, found.path, config)
        ) is not None:
            refused.append((change, why))
        elif waits(found.path, progress):
            rule = rule_of(found.path)
            waiting.append((change, rule.why if rule is not None else ""))
        else:
            changes.append(change)
            if note := note_of(found.path, progress):
                notes.append(f"{change.key} {note}")
    notes += planned_before(state, changes)
    for change, _ in waiting:
        path = _settled(path_of(change.key))
        taken = with_value(taken, path, value_at(old, path))
    kept = {
        key: value
        for key, value in state.overrides.items()
        if _untouched(key, old, whole(settings), value) and _reads(taken, key, value)
    }
    given_way = tuple(key for key in state.overrides if key not in kept)
    if not waiting and not refused and not given_way and settings == state.settings:
        return None
    more = not refused and _more(state, merged(taken, kept))
    return Change(
        taken, kept, tuple(changes), tuple(waiting), tuple(refused), given_way, tuple(notes), more
    )


def _other_evaluator(state: WorkflowState, path: KeyPath, config: WorkflowConfig) -> str | None:
    """Why this trainer can't be taken now, or None.

    Potentials of two evaluators have no scale of γ in common.
    """
    if path[:2] != ("training", "trainer") or state.potential is None:
        return None
    before, after = state.potential.evaluator, trainer_code(config.training.trainer).evaluator
    if before == after:
        return None
    return (
        f"its potentials are evaluated by {after}, and those so far by {before}: begin another"
        " campaign for it"
    )


def _settled(path: KeyPath) -> KeyPath:
    """Of a section with kinds the whole is kept: one kind's keys mean nothing beside another's."""
    return path[:2] if path[:2] in {("site", "transport"), ("site", "scheduler")} else path


def _reads(settings: Settings, key: str, value: JsonValue) -> bool:
    """Whether a value that was set by hand can still be read beside the file.

    A later schema may lack its key.
    """
    try:
        config_of(with_value(settings, path_of(key), value))
    except ValueError:
        return False
    return True


def _more(state: WorkflowState, effect: Settings) -> bool:
    """Whether walkers go where none went before.

    It is not so where nobody can read any more where they went.
    """
    try:
        before = config_of(merged(state.settings, state.overrides))
    except ValueError:
        return False
    return asks_for_more(settings_of(before), effect)


def _untouched(key: str, old: Settings, new: Settings, value: JsonValue) -> bool:
    """Whether the file says of this key what it said when the key was set by hand."""
    path = path_of(key)
    return value_at(old, path) == value_at(new, path) != value


def _change(found: Difference) -> ev.SettingChange:
    return ev.SettingChange(key=dotted(found.path), before=found.before, after=found.after)


def change_by_hand(state: WorkflowState, key: str, value: JsonValue) -> Change | None:
    """What `set KEY VALUE` would change; None if it is so already.

    Raises ConfigurationError for what cannot be set.
    """
    if not state.settings:
        raise ConfigurationError(
            "the settings in force are not known yet: start the daemon once with its site file"
        )
    now = merged(state.settings, state.overrides)
    try:
        path = path_of(key)
        effect = with_value(now, path, value)
    except ValueError as error:
        raise ConfigurationError(f"{key}: {error}{_meant(key)}") from error
    progress = progress_of(state, starting=False)
    _require_free(path, progress)
    checked(effect, now, f"set {key}")
    found = tuple(differences(whole(now), whole(effect)))
    if not found:
        return None
    for each in found:
        _require_free(each.path, progress)
        if (why := _other_evaluator(state, each.path, config_of(effect))) is not None:
            raise ConfigurationError(f"{dotted(each.path)} cannot change now: {why}")
    overrides = {name: kept for name, kept in state.overrides.items() if not _under(name, key)}
    if value_at(whole(state.settings), path) != value_at(whole(effect), path):
        overrides[key] = value
    more, changes = asks_for_more(now, effect), tuple(_change(each) for each in found)
    notes = tuple(planned_before(state, changes))
    return Change(state.settings, overrides, changes, notes=notes, more=more)


def planned_before(state: WorkflowState, changes: Sequence[ev.SettingChange]) -> Iterator[str]:
    """Which tasks of a change keep the settings of before: they carry what they were planned with.

    Resources and bounds reach them: these are looked up at every attempt.
    """
    open_tasks: dict[Phase, list[str]] = {}
    for record in state.tasks.values():
        if record.status in _OPEN:
            open_tasks.setdefault(record.task.phase, []).append(record.task.id)
    for phase, names in open_tasks.items():
        keys = [change.key for change in changes if change.key.startswith(_CARRIED[phase])]
        if keys:
            number = f"{len(names)} tasks" if len(names) > 1 else "1 task"
            message = f"{', '.join(names[:_NAMED_MAX])}{' …' if len(names) > _NAMED_MAX else ''}"
            yield (
                f"{number} of {phase} planned before this will keep {', '.join(keys)} as of then:"
                f" {message}"
            )


def _require_free(path: KeyPath, progress: CampaignProgress) -> None:
    """Raise ConfigurationError for a key that is none, or that a running campaign cannot change."""
    if rule_of(path) is None:
        raise ConfigurationError(f"{dotted(path)}: no such key{_meant(dotted(path))}")
    if (why := objection(path, progress)) is not None:
        raise ConfigurationError(f"{dotted(path)} cannot change now: {why}")
    if waits(path, progress) and (rule := rule_of(path)) is not None:
        raise ConfigurationError(
            f"{dotted(path)} changes with the site file and a new start: {rule.why}"
        )


def _under(name: str, key: str) -> bool:
    return name == key or name.startswith((f"{key}.", f"{key}["))


def _meant(key: str) -> str:
    near = nearest(key, {dotted(path) for path in keys(WorkflowConfig)})
    return f"; did you mean {near!r}?" if near else ""


def taken(
    state: WorkflowState,
    change: Change,
    config_sha256: str,
    now: datetime,
    by: ev.Actor,
    reason: str,
) -> ev.SettingsTaken:
    """The event with which a change is in force."""
    return ev.SettingsTaken(
        at=now,
        by=by,
        reason=reason,
        config_sha256=config_sha256,
        settings=dict(change.settings),
        overrides=dict(change.overrides),
        changes=change.changes,
        quiet_from=unexplored(state) if change.more else None,
    )


def taking(
    state: WorkflowState,
    change: Change,
    config_sha256: str,
    now: datetime,
    by: ev.Actor,
    reason: str = "",
) -> tuple[ev.Event, ...]:
    """Every event of a change that a running campaign takes.

    They are for one and the same turn of its loop.
    """
    event = taken(state, change, config_sha256, now, by, reason)
    policy = Policy.from_config(in_force(evolve(state, event)))
    return tuple(after_change(state, "", policy, now, by, event))


def in_force(state: WorkflowState) -> WorkflowConfig:
    """The configuration that the journal says.

    Raises ValueError where it says none, or one of another schema.
    """
    if not state.settings:
        raise ValueError("no settings are in force yet")
    return config_of(with_walks(merged(state.settings, state.overrides), state.walks))


def with_walks(settings: Settings, walks: Sequence[ev.AddedWalk]) -> dict[str, JsonValue]:
    """Settings with walkers from structures that people have added, behind those of the site file.

    They walk under the conditions of the first of these.
    """
    if not walks:
        return dict(settings)
    walkers = cast("list[dict[str, JsonValue]]", value_at(settings, _WALKERS))
    conditions = {key: value for key, value in walkers[0].items() if key in _CONDITIONS}
    folder = Path(str(value_at(settings, ("campaign", "folder")))) / ADDED
    further = [{**conditions, "file": str(folder / each.name)} for each in walks]
    return with_value(settings, _WALKERS, cast("JsonValue", [*walkers, *further]))


def override_lines(state: WorkflowState) -> Iterator[str]:
    """What `set` has said beside the site file."""
    for key, value in state.overrides.items():
        said = _shown(value_at(whole(state.settings), path_of(key)))
        yield f"{key} is {_shown(value)} by hand (the site file says {said})"
