"""Which codes a site file names, and which of them other packages bring."""

from collections.abc import Iterator
from importlib.metadata import version

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract import registry
from mlip_autopipec.contract.trainer import name_of, trainer_code


def outside(config: WorkflowConfig) -> tuple[registry.Entry, ...]:
    """The codes that jobs of this campaign need and that are not built in."""
    named = (registry.entries(seam)[name] for seam, name in _named(config))
    return tuple(entry for entry in named if entry.distribution)


def packages_of(config: WorkflowConfig) -> tuple[str, ...]:
    """The packages of others that bring codes of this campaign, each as `name version`."""
    names = sorted({entry.distribution for entry in outside(config)})
    return tuple(f"{name} {version(name)}" for name in names)


def _named(config: WorkflowConfig) -> Iterator[tuple[str, str]]:
    yield "oracles", config.calculation.oracle.kind
    yield "schedulers", config.site.scheduler.kind
    yield "engines", config.exploration.engine.kind
    yield "trainers", name_of(config.training.trainer)
    yield "evaluators", trainer_code(config.training.trainer).evaluator
    for measure in config.training.gate.measures:
        yield "measures", measure.kind
