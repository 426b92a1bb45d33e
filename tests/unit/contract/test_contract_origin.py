"""Where structures came from: values that travel, and the sentences of earlier versions."""

from dataclasses import replace
from pathlib import Path

import pytest
from ase import Atoms

from mlip_autopipec.contract.explore import StructureFile, Walker
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.origin import Origin, origin_from
from mlip_autopipec.contract.values import plain, read
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.digest import Label
from mlip_autopipec.data_models.task import make_task
from mlip_autopipec.work.codes.ase.settings import AseOracle
from mlip_autopipec.work.origins import note_origin, origin_of
from mlip_autopipec.work.structures import read_frames, write_frames

pytest.importorskip("pyace", reason="needs the demo extra")

from mlip_autopipec.work.ace.labels import trajectory_of

WALK = Origin(kind="halt", subject="Cu fcc 900 K nvt #2", condition="Cu fcc 900 K nvt", step=40)
REF = FileRef(path="a", sha256="0" * 64)


@pytest.mark.parametrize(
    ("origin", "sentence"),
    [
        (WALK, "halt: Cu fcc 900 K nvt #2, step 40"),
        (replace(WALK, continued=True), "halt: Cu fcc 900 K nvt #2, step 40 of a continuation"),
        (
            Origin(kind="generated", subject="Cu fcc, rattled by 0.1 Å"),
            "generated: Cu fcc, rattled by 0.1 Å",
        ),
        (Origin(kind="isolated atom", subject="Cu"), "isolated atom: Cu"),
        (Origin(kind="simulated"), "simulated"),
        (Origin(kind=""), ""),
    ],
)
def test_sentences_are_those_of_before_and_say_what_they_said(
    origin: Origin, sentence: str
) -> None:
    """So a data set of an earlier version is read as one of this."""
    assert origin.sentence == sentence
    assert origin_from(sentence) == origin


#: A user's file of a hostile name, of which no reader of sentences can tell the parts.
HOSTILE = Walker(
    file=StructureFile(name="a: b #2, step 7"),
    ensemble="nvt",
    temperature_kelvin=300.0,
    steps=10,
    timestep_fs=1.0,
    seed=1,
    replica=2,
)


def test_a_value_keeps_apart_what_a_sentence_would_mix(tmp_path: Path) -> None:
    """Through a label's file; names hold quotes, backslashes and what looks like a sentence."""
    assert HOSTILE.condition == "a: b #2, step 7 300 K nvt"
    kept = []
    for subject in (HOSTILE.label, "T", "300", 'say "no"', "back\\slash", "{a} [b] =c", "Å"):
        frame = Atoms("Cu", cell=[3.0] * 3, pbc=True)
        note_origin(
            frame, Origin(kind="audit", subject=subject, condition=HOSTILE.condition, step=5)
        )
        kept.append(frame)
    write_frames(tmp_path / "frames.extxyz", kept)
    for frame, again in zip(kept, read_frames(tmp_path / "frames.extxyz"), strict=True):
        assert origin_of(again) == origin_of(frame)
        assert origin_of(again).condition == HOSTILE.condition
        assert trajectory_of(again) == origin_of(frame).subject


def test_a_task_of_before_keeps_its_name_and_a_new_one_carries_the_value() -> None:
    """What is not known is left out, and the name of a task is over what is there."""
    asked = CalculateParameters(
        role=Role.TRAIN,
        origin=WALK.sentence,
        oracle=AseOracle(calculator="ase.calculators.emt.EMT"),
        force_max_ev_per_angstrom=50.0,
    )
    assert "came_from" not in plain(asked)
    assert make_task(1, Phase.CALCULATION, 0, asked).id == "c001.calculation.0000-80dca6"
    known = replace(asked, came_from=WALK)
    task = make_task(1, Phase.CALCULATION, 0, known)
    assert read(CalculateParameters, plain(task.parameters)) == known


def test_a_label_of_any_version_says_where_it_is_from() -> None:
    """By its value; by its sentence where an earlier version wrote no value.

    It is written again as it was.
    """
    old = Label(
        task="t", file=REF, role=Role.ISOLATED_ATOM, origin="isolated atom: Cu", settings="EMT"
    )
    assert old.where_from.element == "Cu"
    assert "came_from" not in old.model_dump(mode="json")
    new = Label(task="t", file=REF, role=Role.TRAIN, origin="", came_from=WALK, settings="EMT")
    assert Label.model_validate_json(new.model_dump_json()).where_from == WALK
