"""When the next login may be tried, in virtual time."""

import random

import pytest

from mlip_autopipec.errors import LoginRefused
from mlip_autopipec.testing.clock import SimulatedClock, run_simulated
from mlip_autopipec.transports.logins import Logins


def paced(clock: SimulatedClock) -> Logins:
    return Logins(clock, random.Random(4))  # noqa: S311 - jitter


def test_logins_that_fail_are_tried_less_and_less_often() -> None:
    """At once, then up to 1, 2, 4 … 64 s apart.

    A network that is down for months is no trouble.
    """
    clock = SimulatedClock()

    async def main() -> list[float]:
        logins, waits = paced(clock), []
        for _ in range(2000):
            began = clock.elapsed_s
            await logins.turn()
            waits.append(clock.elapsed_s - began)
        return waits

    waits = run_simulated(main(), clock, limit_s=1e6)
    assert waits[0] == 0
    assert all(wait <= 2.0**number for number, wait in enumerate(waits[1:8]))
    assert 0 < min(waits[8:]) < 1
    assert 60 < max(waits) <= 64


def test_a_connection_that_lived_is_made_again_at_once() -> None:
    """One that is lost again and again right after the login is not."""
    clock = SimulatedClock()

    async def main() -> None:
        logins = paced(clock)
        for _ in range(5):
            began = clock.elapsed_s
            await logins.turn()
            assert clock.elapsed_s == began
            await clock.sleep(60)
            logins.lost()
        await logins.turn()
        for _ in range(5):
            began = clock.elapsed_s
            await clock.sleep(1)
            logins.lost()
            await logins.turn()
            assert clock.elapsed_s > began + 1

    run_simulated(main(), clock, limit_s=1e6)


def test_after_a_refusal_nothing_is_tried_for_a_while() -> None:
    """The same words again, without a login.

    After five minutes one more is tried, and after ten.
    """
    clock = SimulatedClock()

    async def main() -> None:
        logins = paced(clock)
        await logins.turn()
        assert str(logins.refused("no such key")) == "no such key"
        for _ in range(3):
            with pytest.raises(LoginRefused, match="no such key"):
                await logins.turn()
            await clock.sleep(99)
        await clock.sleep(10)
        await logins.turn()
        logins.refused("no such key")
        await clock.sleep(500)
        with pytest.raises(LoginRefused):
            await logins.turn()
        await clock.sleep(101)
        await logins.turn()

    run_simulated(main(), clock, limit_s=1e6)


def test_a_person_who_has_mended_the_login_need_not_wait() -> None:
    """The next login is tried at once."""
    clock = SimulatedClock()

    async def main() -> None:
        logins = paced(clock)
        await logins.turn()
        logins.refused("no such key")
        logins.forgive()
        await logins.turn()
        assert clock.elapsed_s == 0

    run_simulated(main(), clock, limit_s=1e6)
