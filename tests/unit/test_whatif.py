"""whatif: what may be asked for, and a real fit made again."""

import asyncio
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from kit.campaign import ACTOR, structure
from kit.campaign import Campaign as Sample
from kit.exported import with_files
from kit.files import DEMO
from kit.jobs import CAMPAIGN, Site, training_set
from kit.pages import HOW_TO, commands_of
from typer.testing import CliRunner, Result

from mlip_autopipec.cli import app
from mlip_autopipec.config.changes import settings_of
from mlip_autopipec.config.loader import load_changed, load_config
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.tasks import Input
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.digest import CalculationDigest
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.strategies import closed
from mlip_autopipec.phases.training import Training
from mlip_autopipec.whatif import WhatIf, asked_of, training_as


def ctl(config: Path, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["whatif", "-c", str(config), *map(str, arguments)])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A site file of a campaign that never ran."""
    path = tmp_path / "site.yaml"
    path.write_text(DEMO.read_text().replace("../campaigns/copper", "copper"))
    return path


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            "training.functions_per_elment=30",
            "training.functions_per_elment  30 → no such key; did you mean",
        ),
        (
            "training.gate.md_stps=3",
            "training.gate.md_stps  3 → no such key; did you mean 'md_steps'?",
        ),
        ("training.ridge=-1", "training.ridge  -1 → expected more than 0 or 'auto'"),
        ("training.ridge=much", "training.ridge  'much' → expected a number or 'auto'"),
        ("training.trainer=linaer", "did you mean 'linear'?"),
        ("training.functions_per_element=4000", "training.functions_per_element  4000 → expected"),
        ("convergence.quiet_cycle=3", "did you mean 'quiet_cycles'?"),
        ("trainng.ridge=1", "did you mean 'training.ridge'?"),
        (
            "exploration.gamma_halt=3",
            "exploration.gamma_halt is no setting of a fit or of how it is judged",
        ),
        ("campaign.seed=3", "there are training.… and convergence.…"),
        ("training=3", "training is no setting of a fit"),
        ("training.ridge", "--set training.ridge: expected KEY=VALUE, such as training.ridge=1e-6"),
        ("training.ridge=", "expected KEY=VALUE"),
        ("training.ridge.more=1", "ridge is no section of keys"),
        ("training.ridge=[1", "'[1' is no value of YAML"),
    ],
)
def test_a_wrong_setting_is_refused_in_words(config: Path, asked: str, message: str) -> None:
    """By the rules of the site file, with the nearest key, before anything is fitted."""
    config.write_text(
        config.read_text().replace("  trainer: linear\n", "  trainer: linear\n  ridge: 1e-7\n")
    )
    done = ctl(config, "--set", asked)
    assert done.exit_code == 2, done.output
    assert message in done.output
    assert "the default" not in done.output


def test_a_setting_that_is_given_twice_is_refused(config: Path) -> None:
    done = ctl(config, "--set", "training.ridge=1", "--set", "training.ridge=2")
    assert done.exit_code == 2
    assert "training.ridge is given twice" in done.output


def test_a_campaign_without_a_fit_has_nothing_to_replay(config: Path) -> None:
    """No journal, and one that has only begun."""
    assert "there is no fit in the journal" in ctl(config).output
    sample = Sample()
    sample.create()
    write(config, sample)
    done = ctl(config)
    assert done.exit_code == 78
    assert "nothing to replay" in done.output


def test_a_pacemaker_that_is_elsewhere_is_told(config: Path) -> None:
    """Its Python is the site's, and fits are replayed on this machine."""
    done = ctl(
        config,
        "--set",
        "training.trainer=pacemaker",
        "--set",
        "training.pacemaker.python=/no/such/python",
    )
    assert done.exit_code == 2
    assert "/no/such/python, which is not on this machine" in done.output


def test_what_was_in_force_is_what_is_changed(config: Path) -> None:
    """A fit of another time had other settings.

    A journal of before has none, and the site file counts.
    """
    loaded = load_config(config)
    asked = asked_of(loaded, ["training.ridge=1e-5", "training.gate.md_steps=300"])
    assert asked.at(WorkflowState()) == asked.config
    then = settings_of(
        load_changed(
            config, {("training", "cutoff_angstrom"): "4.7", ("training", "ridge"): "1e-9"}
        ).config
    )
    overrides = {"convergence.cycles_max": 40}
    config_then = asked.at(WorkflowState(settings=then, overrides=overrides))
    assert (config_then.training.cutoff_angstrom, config_then.training.ridge) == (4.7, 1e-5)
    assert config_then.training.gate.md_steps == 300
    assert config_then.convergence.cycles_max == 40


def test_a_potential_of_the_user_s_is_given_again(config: Path, tmp_path: Path) -> None:
    """The file that the site had then; where the recorded task had none, none is given now."""
    (tmp_path / "mine.yaml").touch()
    text = config.read_text()
    config.write_text(f"{text}\nstart: {{potential: mine.yaml}}\n")
    asked = asked_of(load_config(config), [])
    sample = Sample()
    sample.create()
    sample.calculation(sample.generation())
    ref = FileRef(path="inputs/mine.yaml", sha256="a" * 64)
    (without,) = Training(load_config(config).config.model_copy(update={"start": None})).plan(
        sample.state
    )
    assert "given_yaml" not in [item.name for item in without.inputs]
    recorded = without.model_copy(
        update={"inputs": (*without.inputs, Input(name="given_yaml", file=ref))}
    )
    (again,) = training_as(recorded, asked.config).plan(sample.state)
    assert [item.file for item in again.inputs if item.name == "given_yaml"] == [ref]
    assert training_as(without, asked.config).plan(sample.state) == (without,)


def test_an_existing_folder_is_left_alone(config: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = ctl(config, "--folder", tmp_path / "mine")
    assert done.exit_code == 78
    assert "is there already, and is left as it is" in done.output


def write(config: Path, sample: Sample) -> None:
    """The journal of a campaign, where its site file says."""
    folder = load_config(config).config.campaign.folder / "journal"

    async def append() -> None:
        journal, _ = FileJournal.open(folder, now=sample.now)
        try:
            await journal.append(sample.events)
        finally:
            await journal.close()

    asyncio.run(append())


# --- a real fit -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site file of a campaign of one cycle with a real fit.

    The work half makes it as a job runs it on one core.
    """
    pytest.importorskip("pyace", reason="needs the demo extra")
    config = tmp_path_factory.mktemp("whatif") / "site.yaml"
    text = DEMO.read_text().replace("../campaigns/copper", "copper")
    config.write_text(
        text.replace("cutoff_angstrom: 5.5", "cutoff_angstrom: 4.5").replace(
            "element: 60", "element: 20"
        )
    )
    loaded = load_config(config)
    root = loaded.config.site.root
    site, sample, runner = Site.at(root), Sample(), Training(loaded.config)
    sample.create()
    in_force = settings_of(loaded.config)
    sample.add(
        ev.SettingsTaken(at=sample.now, by=ACTOR, config_sha256=loaded.sha256, settings=in_force)
    )
    sample.generation()
    labels = training_set(root / "labels")
    roles = [Role.TRAIN] * 10 + [Role.TEST] * 4
    sample.calculation(
        structure(f"g/{number}.xyz", role, "generated") for number, role in enumerate(roles)
    )
    digest = sample.state.digests[Phase.CALCULATION]
    assert isinstance(digest, CalculationDigest)
    contents = {
        label.file.path: path.read_bytes()
        for label, path in zip(digest.labels, labels, strict=True)
    }
    before, sample = sample, Sample()
    sample.at_s = before.at_s
    for event in before.events:
        sample.add(with_files(event, root, contents))
    (task,) = runner.plan(sample.state)
    sample.add(ev.PhaseStarted(at=sample.now, cycle=0, phase=Phase.TRAINING, tasks=(task,)))
    job_name = sample.submit([task])
    document = site.place(task) / "task.json"
    document.write_text(document.read_text().replace(CAMPAIGN, sample.state.campaign))
    done = subprocess.run(
        site.command(task, job_name=job_name),
        cwd=root,
        env={
            **os.environ,
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sample.add(ev.TaskEnded(at=sample.now, outcome=site.outcome(job_name=job_name)))
    sample.close(runner.digest(sample.state))
    sample.add(
        ev.CycleClosed(
            at=sample.now, summary=closed(sample.state, Policy.from_config(loaded.config))
        )
    )
    write(config, sample)
    return config


def commands() -> list[list[str]]:
    """The words of those of docs/how-to/what-if.md, behind `whatif`."""
    lines = [shlex.split(line) for line in commands_of(HOW_TO / "what-if.md")]
    assert all(words[:4] == ["autopipecctl", "whatif", "-c", "site.yaml"] for words in lines)
    return [words[4:] for words in lines]


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.codes
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_same_settings_give_the_same_potential_byte_for_byte(fitted: Path) -> None:
    """By what was in force as the fit was made, whatever the site file says now.

    Nothing of the campaign changes.
    """
    assert commands()[2:] == [[]]
    text = fitted.read_text()
    # a change that no daemon has taken
    fitted.write_text(text.replace("element: 20", "element: 15"))
    before = files_of(fitted.parent)
    done = ctl(fitted, *commands()[2], "--folder", fitted.parent / "again")
    assert done.exit_code == 0, done.output
    assert "The site file says something else than the journal has in force" in done.output
    assert "Every potential is that of the journal, byte for byte." in done.output
    again = {
        name: content for name, content in files_of(fitted.parent).items() if name not in before
    }
    assert {
        name: content for name, content in files_of(fitted.parent).items() if name in before
    } == before
    for name in ("potential.yaml", "potential.asi", "potential.yace"):
        path = f"potentials/000/{name}"
        assert again[f"again/{path}"] == before[f"copper/root/{path}"]
    fitted.write_text(text)


@pytest.mark.codes
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_other_settings_stand_beside_those_of_the_journal(fitted: Path) -> None:
    """As JSON: errors on the same test set, the gate, and what the rules say.

    So few labels take a smaller basis.
    """
    larger = "training.functions_per_element=300"
    assert larger in commands()[0]
    asked = [
        "training.functions_per_element=10" if each == larger else each for each in commands()[0]
    ]
    done = ctl(fitted, *asked, "--set", "training.stress_weight=0", "--json")
    assert done.exit_code == 0, done.output
    found = WhatIf.model_validate_json(done.stdout)
    assert found.settings == {"training.functions_per_element": "10", "training.stress_weight": "0"}
    (cycle,) = found.cycles
    assert cycle.journal is not None
    assert cycle.what_if is not None
    assert (cycle.labels, cycle.journal.functions, cycle.what_if.functions) == (14, 20, 10)
    assert cycle.what_if.test.structures == cycle.journal.test.structures == 4
    assert cycle.what_if.test.force_mev_per_angstrom > cycle.journal.test.force_mev_per_angstrom
    assert not cycle.same
    assert found.what_if.verdict is None


@pytest.mark.codes
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_needs_may_be_tighter_and_the_potentials_are_kept(
    fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the page has it."""
    monkeypatch.chdir(fitted.parent)
    done = ctl(fitted, *commands()[1])
    assert done.exit_code == 0, done.output
    assert "no verdict: by these cycles the campaign goes on" in done.output
    assert (fitted.parent / "heavier" / "potentials" / "000" / "potential.yace").is_file()


@pytest.mark.codes
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_fit_that_fails_says_why(fitted: Path) -> None:
    """In the work half's words, with the exit code of a failure."""
    done = ctl(fitted, "--set", "training.functions_per_element=90")
    assert done.exit_code == 1, done.output
    assert (
        "cycle 0: the fit failed, bad_input: 80 training environments of Cu for 90 functions"
        in done.output
    )


@pytest.mark.codes
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_label_that_is_gone_is_named(fitted: Path) -> None:
    """No fit is made of what is left."""
    label = next((fitted.parent / "copper" / "root").glob("cycles/000/calculation/*/label.xyz"))
    content = label.read_bytes()
    label.write_bytes(content.replace(b"Cu", b"Au"))
    try:
        done = ctl(fitted)
    finally:
        label.write_bytes(content)
    assert done.exit_code == 78
    assert "label.xyz on the site has changed" in done.output
