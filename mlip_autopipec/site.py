"""From a site file to its transport, watcher and scheduler.

It names transports; a scheduler is looked up.
"""

import random
import secrets
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mlip_autopipec.config.schemas import site as sections
from mlip_autopipec.data_models.base import RunsOn
from mlip_autopipec.ports import Clock, Scheduler, Transport, Watcher
from mlip_autopipec.schedulers.local import runners
from mlip_autopipec.schedulers.routing import RoutingScheduler
from mlip_autopipec.schedulers.seam import Surroundings, scheduler_code
from mlip_autopipec.transports.local import LocalTransport
from mlip_autopipec.transports.openssh import OpensshTransport
from mlip_autopipec.transports.ssh import SshTransport
from mlip_autopipec.watch.local import LocalWatcher
from mlip_autopipec.watch.remote import RemoteWatcher

_RESCAN_S = 2.0


async def _nothing_to_close() -> None:
    """A local site has no connection."""


@dataclass(frozen=True)
class Way:
    """Files and commands of the site, and where its ended attempts show up."""

    transport: Transport
    watcher: Watcher
    close: Callable[[], Awaitable[None]] = _nothing_to_close
    #: A refused login may be tried again at once.
    login_again: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Site:
    """The adapters that a site file names."""

    scheduler: Scheduler
    python: str
    way: Way


def python_of(site: sections.SiteSection) -> str:
    """The Python that runs the tasks."""
    return site.python or (sys.executable if site.transport.kind == "local" else "python3")


def adapters(site: sections.SiteSection, payload: str, clock: Clock) -> Site:
    """What this site file names: the way there, and its queues."""
    way = way_there(site, clock)
    return Site(queues(site, way, payload, clock), python_of(site), way)


def queues(site: sections.SiteSection, way: Way, payload: str, clock: Clock) -> Scheduler:
    """The queues of this site file, by a way that is there already."""
    surroundings = Surroundings(
        transport=way.transport,
        root=str(site.root),
        python=python_of(site),
        payload=payload,
        section=site.scheduler,
        resources=site.resources,
        prologue=site.prologue_of,
        clock=clock,
        nonce=lambda: secrets.token_hex(16),
    )
    queue = scheduler_code(site.scheduler.kind).made_of(surroundings)
    if site.scheduler.is_the_machine:
        return queue
    return RoutingScheduler(
        {RunsOn.QUEUE: queue, RunsOn.LOGIN: runners(surroundings, site.login_cores)}
    )


def way_there(site: sections.SiteSection, clock: Clock) -> Way:
    """The adapters of the site's transport."""
    rng = random.Random()  # noqa: S311 - spreads retries, nothing secret
    far = site.transport
    if far.kind == "local":
        return Way(
            LocalTransport(site.root), LocalWatcher(site.root / "outbox", rescan_s=_RESCAN_S)
        )
    ssh: SshTransport | OpensshTransport
    if far.kind == "ssh":
        ssh = SshTransport(
            far.host,
            root=str(site.root),
            clock=clock,
            rng=rng,
            port=far.port,
            user=far.user,
            config=[far.config_file] if far.config_file else [],
            known_hosts=far.known_hosts,
            client_keys=[far.identity_file] if far.identity_file else [],
            prologue=far.prologue,
        )
    else:
        ssh = OpensshTransport(
            far.host,
            root=str(site.root),
            clock=clock,
            rng=rng,
            port=far.port,
            user=far.user,
            control_path=far.control_path,
            require_master=far.require_master,
            config=far.config_file,
            prologue=far.prologue,
        )
    watcher = RemoteWatcher(ssh, clock=clock, rng=rng, long_lived=far.long_lived)
    return Way(ssh, watcher, ssh.close, ssh.login_again)
