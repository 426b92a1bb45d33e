"""What people did, as the report tells it."""

from datetime import UTC, datetime

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.report.deeds import deeds, people

AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
ADA = ev.Actor(uid=1000, pid=7, name="ada")


def test_what_people_did_is_told_and_what_the_program_does_is_not() -> None:
    """A pause by a person counts, one by the program does not.

    The settings of the begin changed nothing.
    """
    first = ev.SettingsTaken(at=AT, by=ADA, config_sha256="0" * 64, settings={})
    change = ev.SettingChange(key="convergence.cycles_max", before="20", after="40")
    taken = first.model_copy(update={"changes": (change,), "reason": "more <time>"})
    own = ev.Paused(at=AT, by=ev.DAEMON, reason="three attempts")
    hers = ev.Paused(at=AT, by=ADA, reason="to look")
    found = deeds((first, own, hers, taken, ev.ClockStepped(at=AT, by_s=1.0)))
    assert found == (hers, taken)
    seen = people(found)
    assert "2030-01-02 03:04:05 UTC" in seen
    assert "to look" in seen
    assert "more &lt;time&gt;" in seen
    assert "cycles_max" in seen


def test_nothing_done_is_said() -> None:
    assert "Nobody has changed anything" in people(())
