"""A user's potential, looked at before anything starts, also where there is no python-ace."""

import re
from collections.abc import Sequence
from pathlib import Path

from mlip_autopipec.work.job import TaskFailed

#: Blocks of single elements in a B-basis; of pairs, the name is longer.
_SPECIES = re.compile(r"^\s*-?\s*speciesblock:\s*\"?([A-Z][a-z]?)\"?\s*$", re.MULTILINE)


def judge(potential: Path, active_set: Path | None, elements: Sequence[str]) -> dict[str, str]:
    """What is wrong with it, by the key of its section."""
    found = set(_SPECIES.findall(potential.read_text(encoding="utf-8", errors="replace")))
    if not found:
        return {
            "potential": f"{potential.name} is no B-basis of python-ace: it has no speciesblock"
        }
    if found != set(elements):
        has, wants = ", ".join(sorted(found)), ", ".join(elements)
        return {
            "potential": f"{potential.name} is a potential of {has}, and the campaign of {wants}"
        }
    return _read_by_its_code(potential, active_set)


def _read_by_its_code(potential: Path, active_set: Path | None) -> dict[str, str]:
    """The same by python-ace, where it is; Training asks the same where the jobs run."""
    try:
        from mlip_autopipec.work.codes.pyace.run import load  # noqa: PLC0415 - a login node may have none
    except ModuleNotFoundError:
        return {}
    key = "potential"
    try:
        load({"yaml": potential})
        key = "active_set"
        if active_set is not None:
            load({"yaml": potential, "asi": active_set})
    except TaskFailed as error:
        return {key: str(error)}
    return {}
