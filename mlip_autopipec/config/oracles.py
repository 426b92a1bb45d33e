"""The oracle's section of a site file, held against the files that it names.

What is in it, the oracle's own folder knows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlip_autopipec.config.paths import absolute_path, is_here
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.mistakes import KeyPath, Mistake
from mlip_autopipec.contract.oracle import SiteFile, rules_of

ORACLE: KeyPath = ("calculation", "oracle")


def settled(config: WorkflowConfig) -> WorkflowConfig:
    """The same with what the oracle reads out of files in its section; paths are absolute."""
    section = config.calculation
    oracle = rules_of(section.oracle).settled(section.oracle, config.campaign.elements)
    return config.model_copy(update={"calculation": section.model_copy(update={"oracle": oracle})})


def wrong_oracle(right: Mapping[str, Any], base: Path) -> Iterator[Mistake]:
    """What is wrong in its section and in files that it names.

    Values are keyed `section.key`. Reads the files.
    """
    oracle = right.get("calculation.oracle")
    if oracle is None:
        return
    site_file = SiteFile(
        elements=right.get("campaign.elements", ()),
        here="site.transport" in right and is_here(right["site.transport"]),
        absolute=lambda path: absolute_path(str(path), base),
    )
    rules = rules_of(oracle)
    elements = right.get("campaign.elements", ())
    for mistake in (*rules.mistakes(oracle, elements), *rules.missing(oracle, site_file)):
        yield replace(mistake, path=(*ORACLE, *mistake.path))
