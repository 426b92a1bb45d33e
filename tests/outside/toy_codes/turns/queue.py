"""ports.Scheduler: the local one, one batch after another, with a list of what was handed over."""

from collections.abc import Sequence

from mlip_autopipec.config.schemas.site import SiteSection
from mlip_autopipec.data_models.finding import Colour, Finding
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.ports import Answer, Transport
from mlip_autopipec.schedulers.local import LocalScheduler
from mlip_autopipec.schedulers.seam import Surroundings


class Turns(LocalScheduler):
    """As the local one promises."""

    def __init__(self, site: Surroundings, at_a_time: int | None) -> None:
        super().__init__(
            site.transport,
            root=site.root,
            cores=at_a_time,
            payload=site.payload,
            python=site.python,
            prologue=site.prologue,
        )
        self._site = site

    async def submit(
        self, batch: Batch, tasks: Sequence[Task], exclude: Sequence[str] = ()
    ) -> Answer:
        """A file for each batch beside what the local one does."""
        await self._site.transport.write({f"turns/{batch.job_name}": f"{len(tasks)}\n".encode()})
        return await super().submit(batch, tasks, exclude)


def make(site: Surroundings) -> Turns:
    """Of a site."""
    return Turns(site, site.section.cores_max())


async def examine(site: SiteSection, transport: Transport) -> tuple[Finding, ...]:
    """One line for doctor."""
    done = await transport.run(["nproc"])
    return (
        Finding(
            about="turns",
            colour=Colour.GREEN,
            seen=f"{done.stdout.decode().strip()} cores at {site.root}",
        ),
    )


async def limit(transport: Transport) -> int | None:
    """No more than three, whatever the site file says."""
    await transport.run(["true"])
    return 3
