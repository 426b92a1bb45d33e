"""Where a structure came from, as a value; the sentence by it in files and journals is for people.

Up to version 0.1 there was the sentence alone. Only `origin_from` reads one, where nothing else is
left to go by.
"""

import re

from mlip_autopipec.contract.values import value

#: What follows the walk in the sentence of a frame.
_STEP = re.compile(r", step (\d+)( of a continuation)?$")


@value
class Origin:
    """Where a structure came from: what it was kept or made for, and its walk or crystal."""

    kind: str
    subject: str = ""
    condition: str = ""
    step: int | None = None
    continued: bool = False

    @property
    def sentence(self) -> str:
        """For people, e.g. `halt: Cu fcc 900 K nvt #2, step 40` or `isolated atom: Cu`."""
        step = "" if self.step is None else f", step {self.step}"
        return self.source + step + (" of a continuation" if self.continued else "")

    @property
    def source(self) -> str:
        """The same for every step of one walk, e.g. `halt: Cu fcc 900 K nvt #2`."""
        return f"{self.kind}: {self.subject}" if self.subject else self.kind

    @property
    def element(self) -> str:
        """Of an isolated atom."""
        return self.subject


def is_absent(origin: object) -> bool:
    """What has a sentence alone is written as it was, and tasks of it keep their names."""
    return origin is None


def condition_of(label: str) -> str:
    """What a walker walks in: its label without the number of the replica."""
    condition, mark, number = label.rpartition(" #")
    return condition if mark and number.isdigit() else label


def origin_from(sentence: str) -> Origin:
    """What an earlier version meant by a sentence.

    It is a guess where a name in it looks like a part of it.
    """
    found = _STEP.search(sentence)
    kind, _, subject = (sentence[: found.start()] if found else sentence).partition(": ")
    if found is None:
        return Origin(kind=kind, subject=subject)
    return Origin(
        kind=kind,
        subject=subject,
        condition=condition_of(subject),
        step=int(found[1]),
        continued=found[2] is not None,
    )
