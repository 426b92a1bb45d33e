"""Answers of the work half to what it is asked beside its tasks: judged, for anybody may print."""

import json

import pytest

from mlip_autopipec.contract.doctor import (
    LABEL,
    ORACLE,
    PYTHON,
    START,
    TRIALS,
    Examination,
    Examined,
    PythonQuestion,
    StartQuestion,
    TrialLabel,
)
from mlip_autopipec.contract.values import plain
from mlip_autopipec.examining import answer, examined_here

LABELLED = TrialLabel(
    energy_ev=-1.0,
    n_atoms=1,
    volume_angstrom3=12.0,
    stress_gpa=(0.0,) * 6,
    forces_ev_per_angstrom=((0.0, 0.0, 0.0),),
    wall_s=0.1,
)


def printed(content: object) -> bytes:
    return b"a notice\n" + json.dumps(content).encode() + b"\n"


def test_keys_that_nobody_knows_are_passed_over() -> None:
    """Another version may say more; what it does not say is as it always was."""
    said = {"fit": False, "words": "no such class", "seconds": 3}
    assert answer(ORACLE, printed(said)) == Examined(fit=False, message="no such class", sure=True)
    assert answer(LABEL, printed({**plain(LABELLED), "node": "n1"})) == LABELLED


@pytest.mark.parametrize("examination", [ORACLE, TRIALS, LABEL], ids=lambda each: each.name)
def test_why_there_is_no_answer_is_an_answer(examination: Examination[object, object]) -> None:
    """Whatever was asked."""
    said = {"fit": False, "words": "it failed", "sure": False}
    seen = answer(examination, printed(said))
    assert seen == Examined(fit=False, message="it failed", sure=False)


@pytest.mark.parametrize(
    ("examination", "content"),
    [
        (ORACLE, {"fit": True}),
        (ORACLE, {"words": "well"}),
        (ORACLE, {"fit": "perhaps", "words": "well"}),
        (ORACLE, {"fit": True, "words": ["well"]}),
        (TRIALS, {"fit": True, "words": ""}),
        (LABEL, {**plain(LABELLED), "energy_ev": float("nan")}),
        (LABEL, {**plain(LABELLED), "stress_gpa": [0.0]}),
    ],
)
def test_what_is_no_answer_is_none(
    examination: Examination[object, object], content: object
) -> None:
    """A JSON object of somebody's, or numbers that are none."""
    assert answer(examination, printed(content)) is None


@pytest.mark.slow
def test_why_a_process_gave_no_answer_is_told() -> None:
    """It failed, or took too long."""
    asked = StartQuestion(frame="no structure", elements=("Cu",))
    why = examined_here(START, asked, 60.0)
    assert isinstance(why, str)
    assert why != "nothing"
    assert examined_here(PYTHON, PythonQuestion(), 0.001) == "it took more than 0.001 s"
