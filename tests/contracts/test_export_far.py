"""export from a site behind SSH.

Its files come over the campaign's own transport, or nothing is made.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.campaign import whole_campaign
from kit.exported import placed, text_of
from kit.sshd import FarMachine
from typer.testing import CliRunner, Result

from mlip_autopipec.cli import app

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def behind(machine: FarMachine, root: Path) -> Callable[[str], str]:
    """The site file of a campaign whose root is on that machine."""
    way = f"kind: ssh, host: far, config_file: {machine.config}"

    def edit(text: str) -> str:
        assert "transport: {kind: local}" in text
        text = text.replace("transport: {kind: local}", f"transport: {{{way}}}")
        return text.replace("root: copper/root", f"root: {root}")

    return edit


def export(folder: Path, config: Path) -> Result:
    return CliRunner().invoke(app, ["export", str(folder), "-c", str(config)])


def test_files_of_a_far_site_are_brought_and_checked(
    quiet_machine: FarMachine, tmp_path: Path
) -> None:
    """The report's too, and what the site's Python has; nothing is written there."""
    folder = placed(tmp_path, whole_campaign(1), {}, edit=behind(quiet_machine, tmp_path / "root"))
    before = text_of(folder.root)
    done = export(tmp_path / "paper", folder.config)
    assert done.exit_code == 0, done.output
    files = text_of(tmp_path / "paper")
    assert files["potential/potential.yaml"] == before["potentials/001/potential.yaml"]
    assert files["labels.extxyz"].count("Properties=") == 6
    told = files["settings.yaml"] + files["journal.jsonl"]
    # as a word of its own: digests and decimals hold one in forty of all ports by chance
    assert not re.search(rf"(?<![\w.]){quiet_machine.port}(?![\w.])", told)
    assert text_of(folder.root) == before
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "paper", check=True)


def test_a_site_that_does_not_answer_gives_no_half_export(
    machine: FarMachine, tmp_path: Path
) -> None:
    """It can be tried again: exit code 75."""
    folder = placed(
        tmp_path / "here", whole_campaign(1), {}, edit=behind(machine, tmp_path / "root")
    )
    machine.stop()
    done = export(tmp_path / "here" / "paper", folder.config)
    assert done.exit_code == 75, done.output
    assert [path.name for path in folder.config.parent.iterdir() if "paper" in path.name] == []
    shutil.rmtree(tmp_path / "here")
