"""What of a site file may change during its campaign: one table, a word and a reason for each key.

A row holds for its key and for all that stands under it, unless a longer one says otherwise. Every
key of every section has its row; a test walks the schema.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, cast

from pydantic import JsonValue

from mlip_autopipec.config.complaints import read, validated
from mlip_autopipec.config.rules.table import broken_rules
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.mistakes import KeyPath, Mistake, dotted, shown
from mlip_autopipec.contract.oracle import keys_of_running
from mlip_autopipec.errors import ConfigurationError

Settings = Mapping[str, JsonValue]


class May(StrEnum):
    """When a key may change."""

    LIVE = "live"  # what is decided and planned from now on follows it
    START = "start"  # a running daemon goes on with the old value; the next one takes the new one
    # taken at any time; matters only to a bootstrap cycle that is still to be planned
    BOOTSTRAP = "bootstrap"
    UNTIL_LABELS = "until labels"  # until the first labels are planned
    UNTIL_FIT = "until the fit"  # until there is a potential
    NEVER = "never"


class Rule(NamedTuple):
    """When, and why not at other times."""

    may: May
    why: str = ""


@dataclass(frozen=True, slots=True)
class CampaignProgress:
    """How far a campaign is, as far as the table asks."""

    has_labels: bool
    has_potential: bool
    #: Whether a daemon begins; a running one leaves some keys to the next.
    starting: bool


_LIVE = Rule(May.LIVE)
_WAY = Rule(May.START, "the daemon is connected by it")
_BOOTSTRAP = Rule(
    May.BOOTSTRAP, "the first structures are made once; `autopipecctl add` brings further ones"
)
_ORACLE = Rule(
    May.UNTIL_LABELS,
    "labels of another oracle are never trained on together: begin another campaign for it",
)
_ADOPTED = Rule(May.UNTIL_FIT, "the labels of yours are adopted, or there are none")
_HOW_IT_RUNS = Rule(May.LIVE, "no label's meaning depends on it")

#: By key, as in `exploration.walkers`: of lists and mappings, what stands in them is under the key
#: of the whole.
RULES: Mapping[str, Rule] = {
    "campaign.name": Rule(
        May.NEVER, "jobs and journal bear it: begin another campaign with another campaign.folder"
    ),
    "campaign.elements": Rule(
        May.NEVER, "every label and potential has them in this order: begin another campaign"
    ),
    "campaign.seed": _LIVE,
    "campaign.folder": Rule(
        May.START, "the daemon holds its lock: stop it, move the folder, and start it again"
    ),
    "campaign.log_max": Rule(May.START, "the log is open"),
    "campaign.logs_kept": Rule(May.START, "the log is open"),
    "site.root": Rule(
        May.NEVER,
        "every file of the campaign lies there: to move it, leave a link in its old place",
    ),
    "site.transport": _WAY,
    "site.scheduler": _LIVE,
    "site.scheduler.kind": Rule(May.START, "jobs that run are looked for there"),
    "site.others_may_write": _LIVE,
    "site.login_cores": _LIVE,
    "site.python": _LIVE,
    "site.poll_interval": Rule(May.START, "what looks at the site has begun with it"),
    "site.grace": _LIVE,
    "site.resources": _LIVE,
    "distance_min_angstrom": _LIVE,
    "generation.prototypes": _BOOTSTRAP,
    "generation.structures": _BOOTSTRAP,
    "generation.test_structures": _BOOTSTRAP,
    "generation.strain_max": _BOOTSTRAP,
    "generation.rattle_angstrom": _BOOTSTRAP,
    "generation.teacher": _BOOTSTRAP,
    "generation.variations": _BOOTSTRAP,
    "generation.files": _BOOTSTRAP,
    "dataset": Rule(May.BOOTSTRAP, "labels of yours are adopted once, before the first fit"),
    "dataset.offsets": _ADOPTED,
    "dataset.energy_max_mev_per_atom": _ADOPTED,
    "dataset.force_max_mev_per_angstrom": _ADOPTED,
    "dataset.stress_max_gpa": _ADOPTED,
    "start": Rule(May.UNTIL_FIT, "another potential has been promoted"),
    "exploration.gamma_select": _LIVE,
    "exploration.gamma_halt": _LIVE,
    "exploration.gamma_halt_first": _LIVE,
    "exploration.pool_frames": _LIVE,
    "exploration.force_error_target_mev_per_angstrom": _LIVE,
    "exploration.stride": _LIVE,
    "exploration.distances_min_angstrom": _LIVE,
    "exploration.temperature_factor_max": _LIVE,
    "exploration.pressure_max_gpa": _LIVE,
    "exploration.volume_factor_max": _LIVE,
    "exploration.continuation": _LIVE,
    "exploration.engine": _LIVE,
    "exploration.walkers": _LIVE,
    "selection.acquisition": _LIVE,
    "selection.shares": _LIVE,
    "selection.gain_min": _LIVE,
    "selection.pool_max": _LIVE,
    "selection.candidates_max": _LIVE,
    "selection.audit": _LIVE,
    "selection.gamma_max": _LIVE,
    "selection.duplicate_rmsd_angstrom": _LIVE,
    "selection.per_walker_max": _LIVE,
    "selection.per_condition_max": _LIVE,
    "selection.per_element_min": _LIVE,
    "selection.cloud": _LIVE,
    "selection.cloud_angstrom": _LIVE,
    "selection.embedding": _LIVE,
    "calculation.oracle": _ORACLE,
    **{f"calculation.oracle.{key}": _HOW_IT_RUNS for key in keys_of_running()},
    "calculation.force_max_ev_per_angstrom": _LIVE,
    "calculation.pressure_max_gpa": _LIVE,
    "calculation.round": _LIVE,
    "calculation.first_labels": _LIVE,
    "training.trainer": _LIVE,
    "training.cutoff_angstrom": _LIVE,
    "training.functions_per_element": _LIVE,
    "training.energy_weight": _LIVE,
    "training.force_weight": _LIVE,
    "training.stress_weight": _LIVE,
    "training.ridge": _LIVE,
    "training.smoothness": _LIVE,
    "training.buffer_weight": _LIVE,
    "training.core_repulsion": _LIVE,
    "training.reference_energies_ev": Rule(May.UNTIL_FIT, "they are pinned at the first fit"),
    "training.isolated_atom_box_angstrom": _BOOTSTRAP,
    "training.pacemaker": _LIVE,
    "training.gate": _LIVE,
    "training.gate.measures": Rule(
        May.START, "the program of the jobs has been shipped with the codes that it names"
    ),
    "training.worse_max": _LIVE,
    "training.worse_force_max_mev_per_angstrom": _LIVE,
    "training.worse_energy_max_mev_per_atom": _LIVE,
    "convergence.needs": _LIVE,
    "convergence.inaccurate_cycles": _LIVE,
    "convergence.quiet_cycles": _LIVE,
    "convergence.force_change_max": _LIVE,
    "convergence.force_change_max_mev_per_angstrom": _LIVE,
    "convergence.cycles_max": _LIVE,
    "convergence.labels_max": _LIVE,
    "convergence.stalled_cycles": _LIVE,
    "convergence.quorum": _LIVE,
    "convergence.attempts_max": _LIVE,
}

_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")
#: Of walkers: what says where, how often and for how long, and not what they are.
_HOW_OFTEN = {"temperatures_kelvin", "pressures_gpa", "replicas", "steps", "stages"}


class Difference(NamedTuple):
    """One value of two settings that is not the same; None where there is none."""

    path: KeyPath
    before: JsonValue
    after: JsonValue


def rule_of(path: KeyPath) -> Rule | None:
    """The row that holds for a key; None if nobody has thought of it."""
    names = [part for part in path if isinstance(part, str)]
    rows = (RULES.get(".".join(names[:length])) for length in range(len(names), 0, -1))
    return next((row for row in rows if row is not None), None)


def objection(path: KeyPath, progress: CampaignProgress) -> str | None:
    """Why this key may not change now, or None.

    That a key waits for the next start is no objection.
    """
    rule = rule_of(path) or Rule(May.NEVER, "it has no row among the rules of what may change")
    refused = {
        May.NEVER: True,
        May.UNTIL_LABELS: progress.has_labels,
        May.UNTIL_FIT: progress.has_potential,
    }.get(rule.may, False)
    return rule.why if refused else None


def waits(path: KeyPath, progress: CampaignProgress) -> bool:
    """Whether a running daemon leaves this key to the next one."""
    rule = rule_of(path)
    return rule is not None and rule.may is May.START and not progress.starting


def note_of(path: KeyPath, progress: CampaignProgress) -> str:
    """What a person should know of a key that has changed; empty if nothing."""
    rule = rule_of(path)
    if rule is not None and rule.may is May.BOOTSTRAP and progress.has_potential:
        return f"matters no more: {rule.why}"
    return ""


def settings_of(config: WorkflowConfig) -> dict[str, JsonValue]:
    """What a configuration says, as JSON; what was left out is left out."""
    return cast("dict[str, JsonValue]", config.model_dump(mode="json", exclude_unset=True))


def config_of(settings: Settings) -> WorkflowConfig:
    """The configuration that says this. Raises pydantic's ValidationError."""
    return cast("WorkflowConfig", validated(WorkflowConfig, dict(settings)))


def whole(settings: Settings) -> dict[str, JsonValue]:
    """Settings with every default, and without keys of an earlier schema that there are no more.

    As they are, where even so nobody can read them.
    """
    for said in (settings, read(WorkflowConfig, settings).data):
        try:
            return cast("dict[str, JsonValue]", config_of(said).model_dump(mode="json"))
        except ValueError:
            continue
    return dict(settings)


def differences(before: JsonValue, after: JsonValue, path: KeyPath = ()) -> Iterator[Difference]:
    """Every value that is not the same in both, in the order of the file.

    Lists of sections are taken item by item.
    """
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys((*before, *after)):
            yield from differences(before.get(key), after.get(key), (*path, key))
    elif _sections(before) and _sections(after):
        old, new = cast("list[JsonValue]", before), cast("list[JsonValue]", after)
        for index in range(max(len(old), len(new))):
            was, now = (each[index] if index < len(each) else None for each in (old, new))
            yield from differences(was, now, (*path, index))
    else:
        yield Difference(path, before, after)


def _sections(value: JsonValue) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def path_of(key: str) -> KeyPath:
    """A key as people write it, `exploration.walkers[0].steps`, taken apart. Raises ValueError."""
    parts = tuple(int(index) if index else name for name, index in _PART.findall(key))
    if dotted(parts) != key or not parts or isinstance(parts[0], int):
        raise ValueError(f"{key!r} is no key: expected one such as convergence.cycles_max")
    return parts


def value_at(settings: Settings, path: KeyPath) -> JsonValue:
    """What stands there; None if nothing does."""
    here: object = settings
    for part in path:
        if isinstance(here, list):
            here = here[part] if isinstance(part, int) and part < len(here) else None
        else:
            here = here.get(part) if isinstance(here, Mapping) else None
    return cast("JsonValue", here)


def with_value(settings: Settings, path: KeyPath, value: JsonValue) -> dict[str, JsonValue]:
    """The same with another value there; sections that are not there are made.

    Raises ValueError where there is no such place.
    """
    return cast("dict[str, JsonValue]", _put(dict(settings), path, value))


def _put(here: JsonValue, path: KeyPath, value: JsonValue) -> JsonValue:
    if not path:
        return value
    part, *rest = path
    if isinstance(part, int):
        if not isinstance(here, list) or part >= len(here):
            raise ValueError(f"there is no item {part}")
        return [
            _put(item, tuple(rest), value) if index == part else item
            for index, item in enumerate(here)
        ]
    if not isinstance(here, dict | None):
        raise ValueError(f"nothing stands under {shown(here)}")  # noqa: TRY004 - a person's word, no type of ours
    inside = here or {}
    return {**inside, part: _put(inside.get(part), tuple(rest), value)}


def merged(settings: Settings, overrides: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Settings with what `set` says beside them."""
    result = dict(settings)
    for key, value in overrides.items():
        result = with_value(result, path_of(key), value)
    return result


def checked(settings: Settings, before: Settings, source: str) -> WorkflowConfig:
    """The configuration that says this, if it has no mistake that was not there before.

    Raises ConfigurationError with all of them.
    """
    known = {(mistake.path, mistake.expected) for mistake in _mistakes(before)}
    mistakes = [
        mistake for mistake in _mistakes(settings) if (mistake.path, mistake.expected) not in known
    ]
    if mistakes:
        found = "; ".join(_message(mistake) for mistake in mistakes)
        raise ConfigurationError(f"{source}: {found}")
    return config_of(settings)


def _mistakes(settings: Settings) -> Sequence[Mistake]:
    reading = read(WorkflowConfig, settings)
    return reading.mistakes or list(broken_rules(reading.right()))


def _message(mistake: Mistake) -> str:
    nearest = f"; did you mean {mistake.suggestion!r}?" if mistake.suggestion else ""
    return f"{dotted(mistake.path)}: {mistake.given} → {mistake.expected}{nearest}"


def asks_for_more(before: Settings, after: Settings) -> bool:
    """Whether walkers of `after` go where none of `before` went, or more often or for longer."""
    old, new = _walks(before), _walks(after)
    return any(steps > old.get(condition, 0) for condition, steps in new.items())


def _walks(settings: Settings) -> dict[str, int]:
    """Every condition that walkers explore, with the MD steps that are walked there."""
    walks: dict[str, int] = {}
    for section in config_of(settings).exploration.walkers:
        for stage in section.ladder():
            what = stage.model_dump_json(exclude=_HOW_OFTEN)
            for kelvin, gpa, _ in stage.conditions:
                condition = f"{what} {kelvin} {gpa}"
                walks[condition] = walks.get(condition, 0) + max(stage.steps, 1)
    return walks
