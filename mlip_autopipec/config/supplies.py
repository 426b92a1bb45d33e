"""Files of this machine that tasks read: sent to the site under a name that tells their content."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.errors import ConfigurationError

_NAME_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Supply:
    """One file, and where it goes under the site's root."""

    ref: FileRef
    content: bytes


def supplies(config: WorkflowConfig) -> Mapping[Path, Supply]:
    """Every file that site.yaml names for tasks, by its path there.

    Raises ConfigurationError if one can't be read.
    """
    paths = [walkers.source for walkers in config.exploration.walkers if walkers.source is not None]
    paths += config.generation.files
    paths += config.dataset.files if config.dataset is not None else ()
    if config.start is not None:
        paths += filter(None, (config.start.potential, config.start.active_set))
    return {path: supply_of(path) for path in paths}


def supply_of(path: Path) -> Supply:
    """One file of this machine. Raises ConfigurationError if it can't be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    return Supply(
        FileRef(path=f"inputs/{sha256[:_NAME_DIGITS]}-{path.name}", sha256=sha256), content
    )
