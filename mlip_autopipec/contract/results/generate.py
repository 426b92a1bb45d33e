"""What a task of Generation has made."""

from dataclasses import field
from typing import Literal

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.values import about, is_nothing, value


@value
class AdoptedSet:
    """The user's labels, read and found sound.

    Training reads the file once the oracle has agreed with some of them.
    """

    file: FileRef
    train: int = field(metadata=about(ge=0))
    test: int = field(metadata=about("held out", ge=0))
    left_out: str = field(
        default="",
        metadata=about("faulty frames, where the site file leaves them out", max_length=8000),
    )
    names: str = field(default="", metadata=about("what was taken for what", max_length=8000))


@value
class GenerateMetrics:
    """What was generated."""

    kind: Literal["generate"] = "generate"
    structures: tuple[Structure, ...]
    environments: dict[str, int] = field(
        metadata=about("atoms per element over the training structures")
    )
    redrawn: int = field(metadata=about("structures drawn again for a short distance", ge=0))
    dataset: AdoptedSet | None = field(
        default=None, metadata=about("labels of the user's", exclude_if=is_nothing)
    )
