"""An exported folder: what it holds, what it does not say, when there is none, and its check."""

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest
from kit.campaign import ACTOR, Campaign, whole_campaign
from kit.exported import dataset, frame, placed, text_of
from typer.testing import CliRunner, Result

from mlip_autopipec.cli import app
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Verdict
from mlip_autopipec.errors import OperatorError
from mlip_autopipec.export.labels import frames
from mlip_autopipec.export.redaction import Redaction

#: What a user would not publish; the journal and the labels hold all of it.
SECRETS = (
    "/home/ada",
    "ada",
    "login1",
    "node1",
    "project-4711",
    "secret",
    "gate.example",
    "door.example",
    "lovelace",
    "0815",
)


def ctl(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in arguments])


def steered() -> Campaign:
    """A whole campaign in which a person has paused, and said too much."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    why = "login1 is down as gate.example is, see /home/ada/secret/notes, or ask ada or lovelace"
    campaign.add(ev.Paused(at=campaign.now, by=ACTOR, reason=why))
    campaign.add(ev.Resumed(at=campaign.now, by=ACTOR))
    site = {
        "root": "/scratch/ada/x",
        "transport": {"kind": "ssh", "host": "gate.example"},
        "account": "project-0815",
    }
    changes = [
        ev.SettingChange(key="site.transport.host", before="gate.example", after="door.example"),
        ev.SettingChange(key="training.ridge", before=1e-8, after=1e-7),
        ev.SettingChange(
            key="calculation.oracle.command", before="/home/ada/bin/pw.x", after="/opt/qe/pw.x"
        ),
    ]
    taken = ev.SettingsTaken(
        at=campaign.now,
        by=ACTOR,
        config_sha256="e" * 64,
        settings={
            "campaign": {"name": "copper", "folder": "/home/ada/c"},
            "site": site,
            "training": {"ridge": 1e-7},
        },
        overrides={"site.transport.user": "lovelace", "convergence.cycles_max": 9},
        changes=tuple(changes),
    )
    campaign.add(taken)
    campaign.learn(halts=False)
    return campaign


# --- what it is made of ---------------------------------------------------------------------------


def test_a_frame_keeps_its_numbers_and_gets_its_cycle() -> None:
    """Only the comment line is longer."""
    first, two, three = frames(dataset(4).encode(), "dataset/004.extxyz", 4, str)
    assert [each.role for each in (first, two, three)] == ["train", "train", "test"]
    lines, before = two.text.splitlines(), frame("c004.1", "train", 4).splitlines()
    assert lines[1] == f"{before[1]} cycle=4"
    assert [*lines[:1], *lines[2:]] == [*before[:1], *before[2:]]


@pytest.mark.parametrize("wrong", ["two\nx\n", "3\ncomment\nCu 0 0 0\n", "\n"])
def test_a_file_that_is_no_extended_xyz_is_named(wrong: str) -> None:
    """With the number of the frame."""
    with pytest.raises(OperatorError, match=r"frame 2 of dataset/004\.extxyz is no extended XYZ"):
        tuple(frames((frame("a", "train", 4) + wrong).encode(), "dataset/004.extxyz", 4, str))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("see /home/ada/secret/notes", "see …/notes"),
        ("'/scratch/p1/ada/Cu.upf': no such file", "'…/Cu.upf': no such file"),
        ("/opt/qe/bin/pw.x on login1", "…/pw.x on …"),
        ("ada said so", "… said so"),
        ("3 meV/atom, 20 meV/Å, and a/b", "3 meV/atom, 20 meV/Å, and a/b"),
        ("cascade and adamant stay", "cascade and adamant stay"),
        ("Cu fcc 900 K nvt, step 40", "Cu fcc 900 K nvt, step 40"),
    ],
)
def test_a_sentence_without_names_and_places(text: str, left: str) -> None:
    """Units and words that hold a name by chance stay."""
    assert Redaction(("login1", "ada"), ("/home/ada",)).text(text) == left


# --- when there is none ---------------------------------------------------------------------------


def test_a_campaign_without_a_potential_is_refused_in_words(tmp_path: Path) -> None:
    """Nothing is left behind."""
    campaign = Campaign()
    campaign.create()
    campaign.calculation(campaign.generation())
    folder = placed(tmp_path, campaign, {})
    done = ctl("export", tmp_path / "paper", "-c", folder.config)
    assert done.exit_code == 78
    assert "has no potential yet: it is in cycle 0" in done.output
    assert [path.name for path in tmp_path.iterdir() if "paper" in path.name] == []


def test_a_campaign_that_never_ran_is_refused(tmp_path: Path) -> None:
    folder = placed(tmp_path, whole_campaign(1), {}, edit=lambda text: text)
    (folder.loaded.config.campaign.folder / "journal").rename(tmp_path / "elsewhere")
    done = ctl("export", tmp_path / "paper", "-c", folder.config)
    assert done.exit_code == 78
    assert "no daemon has run for this campaign" in done.output


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    """A folder, even an empty one, a file, and a link to nowhere."""
    folder = placed(tmp_path, whole_campaign(1), {})
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("folder", "file", "link"):
        done = ctl("export", tmp_path / name, "-c", folder.config)
        assert done.exit_code == 78
        assert f"{name} is there already, and is left as it is" in done.output
    assert (tmp_path / "file").read_text() == "mine"
    assert list((tmp_path / "folder").iterdir()) == []
    done = ctl("export", tmp_path / "no" / "such", "-c", folder.config)
    assert done.exit_code == 78
    assert "No such file or directory" in done.output


def test_a_file_that_is_not_what_the_journal_says_is_refused(tmp_path: Path) -> None:
    """Changed, or gone: half an export would be worse than none."""
    folder = placed(tmp_path, whole_campaign(1), {})
    yace = folder.root / "potentials/001/potential.yace"
    yace.write_text("another")
    done = ctl("export", tmp_path / "paper", "-c", folder.config)
    assert done.exit_code == 78
    assert "potentials/001/potential.yace on the site has changed" in done.output
    yace.unlink()
    done = ctl("export", tmp_path / "paper", "-c", folder.config)
    assert "potentials/001/potential.yace is not on the site any more" in done.output
    assert [path.name for path in tmp_path.iterdir() if "paper" in path.name] == []


# --- the folder -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a campaign that has not ended, on a site with names in it."""
    top = tmp_path_factory.mktemp("export")
    account = "account: project-4711"

    def on_slurm(text: str) -> str:
        return text.replace(
            "scheduler: {kind: local}", f"scheduler: {{kind: slurm, partition: main, {account}}}"
        )

    folder = placed(top, steered(), {}, edit=on_slurm)
    before = text_of(top)
    done = ctl("export", top / "paper", "-c", folder.config)
    assert done.exit_code == 0, done.output
    assert "has no verdict yet" in done.output
    assert "Look at it" not in done.output
    assert {
        name: text for name, text in text_of(top).items() if not name.startswith("paper/")
    } == before
    return top / "paper"


@pytest.mark.slow
def test_a_folder_holds_every_label_and_the_potential(exported: Path) -> None:
    """Labels in their cycles, the potential byte for byte, and what a paper needs."""
    files = text_of(exported)
    assert files["potential/potential.yace"] == "content of potentials/001/potential.yace"
    comments = [line for line in files["labels.extxyz"].splitlines() if "Properties=" in line]
    assert [comment.rpartition(" ")[2] for comment in comments] == ["cycle=0"] * 3 + ["cycle=1"] * 3
    assert all('settings="emt …/Cu.upf"' in comment for comment in comments)
    manifest = json.loads(files["manifest.json"])
    assert manifest["labels"] == {"train": 4, "test": 2}
    assert manifest["verdict"] is None
    assert manifest["converged"] is False
    assert manifest["potential"]["test"]["force_mev_per_angstrom"] == 40
    assert manifest["codes"]["ase"]
    assert {file["path"] for file in manifest["files"]} | {"manifest.json", "SHA256SUMS"} == set(
        files
    )
    assert "**This campaign has no verdict yet" in files["README.md"]
    assert "EMT" in files["settings.yaml"]
    assert "@article{emt," in files["citations.bib"]
    kept = [json.loads(line)["event"]["type"] for line in files["journal.jsonl"].splitlines()]
    assert "PhaseEnded" in kept
    assert "SubmissionBegun" not in kept
    (taken,) = (line for line in files["journal.jsonl"].splitlines() if "SettingsTaken" in line)
    event = json.loads(taken)["event"]
    assert [change["key"] for change in event["changes"]] == [
        "training.ridge",
        "calculation.oracle.command",
    ]
    assert event["overrides"] == {"convergence.cycles_max": 9}
    assert event["settings"] == {"campaign": {"name": "copper"}, "training": {"ridge": 1e-7}}


@pytest.mark.slow
def test_nobody_and_no_machine_is_in_it(exported: Path) -> None:
    """People, machines, accounts, and where files lie there."""
    for name, text in text_of(exported).items():
        # Digests and these words hold letters of a name by chance.
        left = re.sub(r"[0-9a-f]{12,}|metadata|gradation", "", text)
        for secret in (*SECRETS, str(exported.parent)):
            assert secret not in left, (name, secret)


@pytest.mark.slow
def test_standard_tools_check_it(exported: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=exported, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(text_of(exported)) - 1
    done_here = ctl("export", "--verify", exported)
    assert done_here.exit_code == 0
    assert "is as it was written" in done_here.output


@pytest.mark.slow
def test_what_has_changed_since_is_told(exported: Path) -> None:
    """A number in a file, a file that is gone, one too many, and sums that were made to fit."""
    copy = exported.parent / "copy"
    subprocess.run(["cp", "-r", exported, copy], check=True)
    (copy / "labels.extxyz").write_text(
        (copy / "labels.extxyz").read_text().replace("-7.1", "-7.2")
    )
    (copy / "example.py").unlink()
    (copy / "notes.txt").write_text("mine")
    done = ctl("export", "--verify", copy)
    assert done.exit_code == 1
    assert "labels.extxyz has changed" in done.output
    assert "example.py is missing" in done.output
    assert "notes.txt is no file of the export" in done.output
    sums = copy / "SHA256SUMS"
    old = hashlib.sha256((exported / "labels.extxyz").read_bytes()).hexdigest()
    new = hashlib.sha256((copy / "labels.extxyz").read_bytes()).hexdigest()
    sums.write_text(sums.read_text().replace(old, new))
    assert (
        "labels.extxyz has another checksum in SHA256SUMS than in manifest.json"
        in ctl("export", "--verify", copy).output
    )


def test_a_folder_that_is_no_export_is_told_from_one(tmp_path: Path) -> None:
    done = ctl("export", "--verify", tmp_path)
    assert done.exit_code == 78
    assert "is no exported folder: it has no manifest.json" in done.output
    (tmp_path / "manifest.json").write_text('{"format": "other"}')
    assert "cannot be read" in ctl("export", "--verify", tmp_path).output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (Verdict.CONVERGED, "**Verdict: converged.** as it is."),
        (Verdict.BUDGET_EXHAUSTED, "**Verdict: budget exhausted, NOT converged.** as it is."),
    ],
)
def test_the_verdict_comes_first(tmp_path: Path, verdict: Verdict, message: str) -> None:
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    campaign.add(ev.VerdictReached(at=campaign.now, verdict=verdict, reason="as it is"))
    folder = placed(tmp_path, campaign, {})
    assert ctl("export", tmp_path / "paper", "-c", folder.config).exit_code == 0
    assert (tmp_path / "paper" / "README.md").read_text().splitlines()[2].startswith(message)
