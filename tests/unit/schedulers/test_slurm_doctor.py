"""What doctor is told where Slurm gives no answer."""

import asyncio
from pathlib import Path

import pytest

from mlip_autopipec.config.schemas.schedulers import LocalQueue, SlurmQueue
from mlip_autopipec.config.schemas.site import SiteSection
from mlip_autopipec.data_models.finding import Colour
from mlip_autopipec.doctor.ask import queue_findings
from mlip_autopipec.transports.local import LocalTransport


def test_a_site_without_slurm_is_red_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the words of what was tried."""
    monkeypatch.setenv("PATH", str(tmp_path))
    site = SiteSection(root=tmp_path, scheduler=SlurmQueue())
    (found,) = asyncio.run(queue_findings(site, LocalTransport(tmp_path)))
    assert (found.about, found.colour) == ("slurm", Colour.RED)
    assert "no Slurm commands" in found.seen
    assert "site.transport.prologue" in found.remedy


def test_a_scheduler_without_questions_has_no_finding(tmp_path: Path) -> None:
    """The local one needs nothing that doctor does not ask of every site."""
    site = SiteSection(root=tmp_path, scheduler=LocalQueue())
    assert asyncio.run(queue_findings(site, LocalTransport(tmp_path))) == ()
