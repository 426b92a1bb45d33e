"""Ownership: one daemon per root, wherever it runs.

The campaign's lock keeps out a second daemon on this machine. Another login node knows nothing of
that lock, but it reaches the same root: there each daemon, as it starts, makes the folder of the
next epoch, which succeeds once ever, and signs it. Whoever finds a later epoch than its own has
been replaced, and ends. Between that and the moment when it looks, a submission is still one: both
daemons would make it under the same name.
"""

import asyncio
import json
import re
from collections.abc import Mapping

from mlip_autopipec.errors import CampaignLocked, FileUnusable, OperatorError, TransientError
from mlip_autopipec.ports import Clock, Transport

_FOLDER = ".ap/epochs"
_EPOCH = re.compile(r"[0-9]{1,12}")
_SIGNATURE_BYTES_MAX = 64 * 2**10
_README = b"One folder for each daemon that has served this root; the last one does.\n"


class Ownership:
    """The epoch that this daemon holds, none until `claim`."""

    def __init__(self, transport: Transport, clock: Clock, *, host: str, pid: int) -> None:
        self._transport = transport
        self._clock = clock
        self._signature = {"host": host, "pid": pid}
        self._epoch = 0
        #: A look amid a claim would find an epoch that is not known as this daemon's own yet.
        self._turn = asyncio.Lock()

    async def claim(self, campaign: str) -> None:
        """Begin the next epoch.

        Raises OperatorError if the root is another campaign's, TransientError if in doubt.
        """
        async with self._turn:
            self._epoch = 0  # none, where this fails: its folder may have been made all the same
            self._epoch = await self._begin(campaign)

    async def _begin(self, campaign: str) -> int:
        last = await self._last()
        if last and (owner := await self._owner(last)) and owner["campaign"] != campaign:
            raise OperatorError(
                f"site.root holds the campaign {owner['campaign']} (last run by pid {owner['pid']}"
                f" on {owner['host']}), and this is {campaign}: give another site.root, or make"
                " that one's journal again with `autopipecctl journal rebuild`"
            )
        epoch = last + 1
        # makes the root too, where no command could run
        await self._transport.write({f"{_FOLDER}/README": _README})
        done = await self._transport.run(["mkdir", f"{_FOLDER}/{epoch:06d}"])
        if done.exit_status != 0:
            raise TransientError(
                f"epoch {epoch} cannot be begun: {done.stderr.decode('utf-8', 'replace').strip()}"
            )
        signed = {**self._signature, "campaign": campaign, "since": self._clock.now().isoformat()}
        await self._transport.write(
            {_signature(epoch): (json.dumps(signed, indent=1) + "\n").encode()}
        )
        return epoch

    async def keep(self, interval_s: float) -> None:
        """Check now and then, for ever.

        What a fault of the site says is the reconciler's to tell.
        """
        while True:
            await self._clock.sleep(interval_s)
            try:
                await self.check()
            except CampaignLocked:
                raise
            except (TransientError, OperatorError):
                continue

    async def check(self) -> None:
        """Raise CampaignLocked if a later daemon took over; TransientError if it can't be told."""
        async with self._turn:
            await self._look()

    async def _look(self) -> None:
        if not self._epoch or (last := await self._last()) <= self._epoch:
            return
        try:
            owner = await self._owner(last)
        except OperatorError:  # whoever it is: this daemon is not the last one
            owner = None
        who = (
            f"pid {owner['pid']} on {owner['host']}, since {owner['since']}"
            if owner
            else "with no signature that can be read"
        )
        raise CampaignLocked(
            f"another daemon has taken this campaign over ({who}); this one ends, jobs go on"
        )

    async def _last(self) -> int:
        names = await self._transport.names(_FOLDER)
        return max((int(name) for name in names if _EPOCH.fullmatch(name)), default=0)

    async def _owner(self, epoch: int) -> Mapping[str, object] | None:
        """Who signed; None if its daemon died between its two steps."""
        try:
            content = await self._transport.read(_signature(epoch), size_max=_SIGNATURE_BYTES_MAX)
            if content is None:
                return None
            owner = json.loads(content)
            return {key: owner[key] for key in ("campaign", "host", "pid", "since")}
        except (ValueError, KeyError, TypeError, RecursionError, FileUnusable) as error:
            raise OperatorError(
                f"{_signature(epoch)} under site.root is no signature of a daemon: {error}. If no"
                f" other daemon runs this campaign, remove {_FOLDER}/{epoch:06d}"
            ) from error


def _signature(epoch: int) -> str:
    return f"{_FOLDER}/{epoch:06d}/owner.json"
