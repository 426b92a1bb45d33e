"""The seam of schedulers.

What starts jobs declares its section of the site file, and how it is made of a site.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlip_autopipec.contract import registry
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.finding import Finding

# A schema is made of declarations: they load before it is there. Ports load the events of the
# journal, which nobody needs who reads a site file.
if TYPE_CHECKING:
    from mlip_autopipec.config.schemas.schedulers import SchedulerSection
    from mlip_autopipec.config.schemas.site import ResourcesSection, SiteSection
    from mlip_autopipec.ports import Clock, Scheduler, Transport


@dataclass(frozen=True)
class Surroundings:
    """What a scheduler is made of.

    Commands of the transport run in `root`, the site's folder by its full path.
    """

    transport: "Transport"
    root: str
    python: str  # of the site, that runs the tasks
    # the archive of the work half, relative to the root: `python root/payload task …` runs a task
    payload: str
    section: "SchedulerSection"  # site.scheduler
    resources: Mapping[Phase, "ResourcesSection"]  # of the phases that the site file speaks of
    prologue: Callable[[Phase], Sequence[str]]  # lines of bash before tasks of a phase
    clock: "Clock"
    nonce: Callable[[], str]  # a word that nobody has used, to know an answer by


@dataclass(frozen=True, kw_only=True)
class SchedulerCode:
    """Declares a scheduler. Paths are `.module:ATTRIBUTE`, relative to `package`, loaded on demand.

    - `settings`: a SchedulerSection, pydantic's, what stands under site.scheduler.
    - `make`: (Surroundings) → ports.Scheduler, which says what each method promises.
      tests/contracts holds any to it.
    - `examine`: (site, transport) → what doctor is to tell of it, as Findings; awaited. Raises
      AutopipecError.
    - `limit`: (transport) → the tasks of one batch that the site allows, or None; awaited. Raises
      as a transport does.
    """

    package: str
    settings: str
    make: str
    limit: str = ""
    examine: str = ""
    remedy: str = ""  # what doctor says to do where it gives no answer

    @property
    def section(self) -> "type[SchedulerSection]":
        """What stands under site.scheduler."""
        found: type[SchedulerSection] = registry.load(self.settings, self.package)
        return found

    def made_of(self, surroundings: Surroundings) -> "Scheduler":
        """The scheduler of a site."""
        make: Callable[[Surroundings], Scheduler] = registry.load(self.make, self.package)
        return make(surroundings)

    async def findings(self, site: "SiteSection", transport: "Transport") -> Sequence[Finding]:
        """What doctor is to tell of it."""
        if not self.examine:
            return ()
        ask: Callable[[SiteSection, Transport], Awaitable[Sequence[Finding]]]
        ask = registry.load(self.examine, self.package)
        return await ask(site, transport)

    async def tasks_max(self, transport: "Transport") -> int | None:
        """Tasks of one batch that the site allows; None where it says nothing."""
        if not self.limit:
            return None
        ask: Callable[[Transport], Awaitable[int | None]] = registry.load(self.limit, self.package)
        return await ask(transport)


def scheduler_code(kind: str) -> SchedulerCode:
    """The declaration of a scheduler by its kind. Raises UnknownCode."""
    found: SchedulerCode = registry.find("schedulers", kind)
    return found
