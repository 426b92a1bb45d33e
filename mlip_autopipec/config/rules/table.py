"""What sections of a site file must be to each other. Every rule is pure and yields all it finds.

A rule is asked when the values that it reads are right in themselves, whatever else is wrong in the
file.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from mlip_autopipec.config.rules import (
    calculation,
    campaign,
    convergence,
    crystals,
    dataset,
    exploration,
    generation,
    selection,
    site,
    training,
)
from mlip_autopipec.config.rules.base import Rule
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.mistakes import Mistake


def broken_rules(right: Mapping[str, Any]) -> Iterator[Mistake]:
    """Every rule broken by these values, which are keyed `section.key`.

    A rule that lacks one of them is not asked.
    """
    for rule, needs in RULES:
        if needs <= right.keys():
            yield from rule(_excerpt({need: right[need] for need in needs}))


def _excerpt(values: Mapping[str, Any]) -> WorkflowConfig:
    """A WorkflowConfig of only these values, so that no rule can read one that it does not name."""
    excerpt = SimpleNamespace()
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        if section and not hasattr(excerpt, section):
            setattr(excerpt, section, SimpleNamespace())
        setattr(getattr(excerpt, section) if section else excerpt, key, value)
    return cast("WorkflowConfig", excerpt)


def _rule(rule: Rule, *needs: str) -> tuple[Rule, frozenset[str]]:
    return rule, frozenset(needs)


_CRYSTALS = ("generation.prototypes", "exploration.walkers")
_STRUCTURES = ("generation.structures", "generation.test_structures")
#: Every rule with the values that it reads; it is given no others.
RULES: tuple[tuple[Rule, frozenset[str]], ...] = (
    _rule(campaign.symbols, "campaign.elements"),
    _rule(
        campaign.begun,
        *(
            "campaign.elements",
            "generation.prototypes",
            "generation.variations",
            "generation.files",
            "dataset",
        ),
    ),
    _rule(
        generation.begins, "generation.prototypes", "generation.variations", "dataset", *_STRUCTURES
    ),
    _rule(generation.teacher, "generation.teacher", "generation.prototypes"),
    _rule(dataset.names, "dataset"),
    _rule(dataset.potential, "start", "training.reference_energies_ev", "training.trainer"),
    _rule(
        generation.variations,
        *("campaign.elements", "generation.prototypes", "generation.variations"),
        *("distance_min_angstrom", "training.cutoff_angstrom"),
    ),
    _rule(
        partial(crystals.known, crystals.in_generation),
        "campaign.elements",
        "generation.prototypes",
    ),
    _rule(
        partial(crystals.known, crystals.in_exploration), "campaign.elements", "exploration.walkers"
    ),
    _rule(partial(crystals.crystals, crystals.in_generation), "generation.prototypes"),
    _rule(partial(crystals.crystals, crystals.in_exploration), "exploration.walkers"),
    _rule(crystals.distance, "distance_min_angstrom", *_CRYSTALS),
    _rule(training.cutoff, "distance_min_angstrom", "training.cutoff_angstrom", *_CRYSTALS),
    _rule(
        training.environments,
        *(
            "campaign.elements",
            "generation.prototypes",
            "generation.structures",
            "generation.variations",
        ),
        *("generation.files", "training.functions_per_element", "dataset"),
    ),
    _rule(
        training.trainer,
        *(
            "training.trainer",
            "training.functions_per_element",
            "training.cutoff_angstrom",
            "campaign.elements",
        ),
    ),
    _rule(training.evaluator, "training.trainer", "training.core_repulsion", "exploration.engine"),
    _rule(training.measures, "training.gate", "generation.prototypes"),
    _rule(calculation.first_labels, "calculation.first_labels", "generation.prototypes"),
    _rule(exploration.starts, "exploration.walkers"),
    _rule(exploration.pairs, "campaign.elements", "exploration.distances_min_angstrom"),
    _rule(exploration.gamma, "exploration.gamma_select", "exploration.gamma_halt"),
    _rule(selection.window, "selection.gamma_max", "exploration.gamma_halt"),
    _rule(
        selection.window_of_target,
        *("selection.gamma_max", "exploration.gamma_halt", "exploration.gamma_select"),
        "exploration.force_error_target_mev_per_angstrom",
    ),
    _rule(
        selection.embedding,
        *("selection.embedding", "training.cutoff_angstrom", "exploration.walkers"),
        *("campaign.elements", "generation.prototypes"),
    ),
    _rule(selection.per_element, "campaign.elements", "selection.embedding"),
    _rule(exploration.strides, "exploration.walkers", "exploration.stride"),
    _rule(exploration.conditions, "exploration.walkers"),
    _rule(site.cores, "site.scheduler", "site.login_cores", "site.resources"),
    _rule(site.without_a_queue, "site.scheduler", "site.resources"),
    _rule(site.ranks, "site.resources"),
    _rule(site.extras, "site.resources"),
    _rule(site.reach, "site.root", "site.transport"),
    _rule(convergence.labels, "convergence.labels_max", *_STRUCTURES),
    _rule(convergence.cycles, "convergence.quiet_cycles", "convergence.cycles_max"),
    _rule(
        training.references,
        "training.reference_energies_ev",
        "calculation.oracle",
        "campaign.elements",
    ),
)
