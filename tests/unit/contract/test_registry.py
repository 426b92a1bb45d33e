"""Codes by name: built-in ones, and those of a package outside that changes no file of this one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, get_args, get_type_hints

import pytest
from kit.files import NO_PROPERTIES
from kit.outside import (
    CUTOFF,
    EMT,
    LOCAL,
    MORSE,
    PAIRS,
    QUICK,
    SQUEEZE,
    TURNS,
    laid_out,
    python,
    site_file,
)
from pydantic import TypeAdapter, ValidationError

from mlip_autopipec.config.loader import load_config
from mlip_autopipec.config.schemas.training import TrainingSection
from mlip_autopipec.contract import registry
from mlip_autopipec.contract.engine import engine_code
from mlip_autopipec.contract.label import oracle_from
from mlip_autopipec.contract.measure import MeasureRules, measure_code
from mlip_autopipec.contract.oracle import Oracle, OracleRules, free_keys, oracle_code, rules_of
from mlip_autopipec.contract.seams import OneOf
from mlip_autopipec.contract.trainer import TrainerRules, trainer_code, trainer_from
from mlip_autopipec.contract.values import plain
from mlip_autopipec.errors import ConfigurationError
from mlip_autopipec.schedulers.seam import scheduler_code

AUTOPIPECCTL = Path(sys.executable).with_name("autopipecctl")
ORACLES = sorted(registry.BUILT_IN["oracles"])


@pytest.mark.parametrize("name", ORACLES)
def test_an_oracle_has_all_that_it_declares(name: str) -> None:
    """Each path leads somewhere, and its settings answer to its name."""
    code = oracle_code(name)
    for settings in (code.section, code.task):
        assert get_args(get_type_hints(settings)["kind"]) == (name,)
    assert isinstance(code.control(), OracleRules)
    assert callable(code.work("run"))
    assert callable(code.work("examine"))
    assert code.remedy


@pytest.mark.parametrize("name", sorted(registry.BUILT_IN["schedulers"]))
def test_a_scheduler_has_all_that_it_declares(name: str) -> None:
    """Its section answers to its name, and each path leads somewhere."""
    code = scheduler_code(name)
    assert get_args(get_type_hints(code.section)["kind"]) == (name,)
    for path in filter(None, (code.make, code.limit)):
        assert callable(registry.load(path, code.package))


@pytest.mark.parametrize("name", sorted(registry.BUILT_IN["measures"]))
def test_a_measure_has_all_that_it_declares(name: str) -> None:
    """Each path leads somewhere, and something is expected of each of its numbers."""
    code = measure_code(name)
    assert code.names
    assert isinstance(code.control(), MeasureRules)
    assert callable(code.work("measure"))
    for path in filter(None, (code.cells, code.require, code.examine)):
        assert callable(registry.load(path, code.package))


@pytest.mark.parametrize("name", sorted(registry.BUILT_IN["trainers"]))
def test_a_trainer_has_all_that_it_declares(name: str) -> None:
    """Those that are built in have keys of their own under `training`, and are named by a word."""
    code = trainer_code(name)
    assert code.settings_class is None
    assert isinstance(code.control(), TrainerRules)
    assert trainer_from(name) == name
    assert not code.examine or callable(code.work("examine"))
    keys = TrainingSection(
        trainer=name, functions_per_element=10, cutoff_angstrom=5.0
    ).keys_of_trainer()
    assert type(keys) is (code.keys_class or type(None))
    assert all("@article" in entry for entry in code.control().citations(name).values())


@pytest.mark.parametrize("name", sorted(registry.BUILT_IN["engines"]))
def test_an_engine_has_all_that_it_declares(name: str) -> None:
    """Its settings answer to its name."""
    code = engine_code(name)
    assert get_args(get_type_hints(code.settings_class)["kind"]) == (name,)
    assert callable(code.work("make"))
    assert callable(code.work("examine"))
    assert "lammps" in code.cited()


def test_what_nobody_has_is_told_with_what_there_is() -> None:
    """And with the nearest name."""
    with pytest.raises(
        registry.UnknownCode, match="there are ase, espresso; did you mean 'espresso'"
    ) as raised:
        oracle_code("expresso")
    assert "expresso" in str(raised.value)


def test_the_control_half_loads_no_physics_to_judge_a_site_file() -> None:
    """Settings and rules of every oracle, and the schema, without numpy or ASE."""
    names = "; ".join(f"oracle_code({name!r}).control()" for name in ORACLES)
    code = (
        "import sys; from mlip_autopipec.config.loader import json_schema;from"
        " mlip_autopipec.contract.oracle import oracle_code; json_schema();"
        f" {names};print(sorted({{name.partition('.')[0] for name in sys.modules}} & {{'numpy',"
        " 'ase', 'scipy', 'lammps'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_work_half_reads_a_task_without_the_control_half() -> None:
    """Nor does it look through all packages that are installed, where the oracle is built in."""
    code = (
        "import sys; from mlip_autopipec.contract.label import oracle_from;oracle_from({'kind':"
        " 'ase', 'calculator': 'a.B'});from mlip_autopipec.contract import"
        " registry;print(sorted({name.partition('.')[0] for name in sys.modules} & {'pydantic',"
        " 'asyncio', 'numpy'}),registry.entries.cache_info().misses)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] 0\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            {"kind": "asee"},
            (
                "oracle.kind: there is no 'asee' among oracles: there are ase, espresso; did you"
                " mean 'ase'"
            ),
        ),
        ({}, "oracle.kind: there is no 'None' among oracles"),
    ],
)
def test_a_task_with_another_oracle_is_refused(content: dict[str, str], complaint: str) -> None:
    """By the work half, with the key."""
    with pytest.raises(ValueError, match=r"oracle\.kind") as raised:
        oracle_from(content)
    assert complaint in str(raised.value)


def test_a_site_file_that_names_no_oracle_there_is_gets_the_nearest(tmp_path: Path) -> None:
    """As it was when the names were a closed set."""
    path = site_file(tmp_path, {EMT: EMT.replace("ase,", "asse,")})
    with pytest.raises(
        ConfigurationError, match=r"calculation.oracle.kind  'asse' → expected .*did you mean 'ase'"
    ):
        load_config(path)


# --- from outside ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for Python's path with the package in it."""
    return laid_out(tmp_path_factory.mktemp("outside"))


@pytest.fixture
def beside(outside: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This very process finds the package.

    It has judged site files before, and goes on judging those as it did.
    """
    monkeypatch.syspath_prepend(str(outside))
    registry.entries.cache_clear()
    yield
    registry.entries.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy_codes"]:
        del sys.modules[name]


@pytest.mark.usefixtures("beside")
def test_a_union_made_now_has_it() -> None:
    """Judged by its bounds, with its schema; read from a task; and asked by its kind."""
    judged: TypeAdapter[Oracle] = TypeAdapter(Annotated[Oracle, OneOf("oracles", "section")])
    content = {"kind": "morse", "depth_ev": 0.35, "distance_angstrom": 2.6}
    assert judged.validate_python(content) == oracle_from(content)
    with pytest.raises(ValidationError, match="less than or equal to 20"):
        judged.validate_python({**content, "stiffness": 21})
    assert sorted(judged.json_schema()["discriminator"]["mapping"]) == ["ase", "espresso", "morse"]
    (mistake,) = rules_of(oracle_from({**content, "distance_angstrom": 6.0})).mistakes(
        oracle_from(content), ("Cu", "Au")
    )
    assert mistake.path == ("kind",)
    assert measure_code("squeeze").names == ("squeeze",)
    assert scheduler_code("turns").section.model_fields["at_a_time"].default == 1


def test_no_package_frees_a_key_of_another_s_oracle() -> None:
    """What every oracle with such a key lets go may change under way, and no other."""
    ours = (oracle_code("espresso").running, oracle_code("espresso").section)
    assert set(free_keys([ours])) == set(ours[0])
    others = (("command", "ecutwfc_ry"), oracle_code("espresso").section)
    assert free_keys([ours, others]) == ("command",)
    assert (
        free_keys([((), oracle_code("ase").section), (("arguments",), oracle_code("ase").section)])
        == ()
    )


@pytest.mark.slow
def test_a_site_file_may_name_it(outside: Path, tmp_path: Path) -> None:
    """Its section is judged by its own bounds and rules, and written out with its defaults."""
    path = site_file(tmp_path, {EMT: MORSE})
    done = python(outside, AUTOPIPECCTL, "config", "check", "--effective", "-c", path)
    assert done.returncode == 0, done.stderr
    assert "stiffness: 6.0" in done.stdout
    wrong = site_file(
        tmp_path, {EMT: MORSE.replace("2.6", "26").replace("0.35", "0.35, stifness: 3")}
    )
    done = python(outside, AUTOPIPECCTL, "config", "check", "-c", wrong)
    assert done.returncode == 2
    assert "calculation.oracle.distance_angstrom  26.0 → expected no more than 5" in done.stderr
    assert "did you mean 'stiffness'?" in done.stderr
    without = load_error(site_file(tmp_path, {EMT: MORSE}))
    assert (
        "calculation.oracle.kind  'morse' → expected 'ase', 'espresso', or one of oracles that"
        " a package"
    ) in without


@pytest.mark.slow
def test_a_site_file_may_name_a_scheduler(outside: Path, tmp_path: Path) -> None:
    """Judged by its own bounds; what it does not follow is refused of its phases, as of others."""
    path = site_file(tmp_path, {LOCAL: TURNS})
    done = python(outside, AUTOPIPECCTL, "config", "check", "--effective", "-c", path)
    assert done.returncode == 0, done.stderr
    assert "batch_max: 4" in done.stdout
    resources = (
        "  resources: {training: {cores: 9}, exploration: {partition: fast}}\n  grace: 3 s\n"
    )
    wrong = site_file(tmp_path, {LOCAL: TURNS.replace("2", "20"), "  grace: 3 s\n": resources})
    done = python(outside, AUTOPIPECCTL, "config", "check", "-c", wrong)
    assert "site.scheduler.at_a_time  20 → expected 8 or less" in done.stderr
    wrong = site_file(tmp_path, {LOCAL: TURNS, "  grace: 3 s\n": resources})
    done = python(outside, AUTOPIPECCTL, "config", "check", "-c", wrong)
    assert (
        "site.resources.training.cores  9 → expected no more than site.scheduler.cores (2)"
        in done.stderr
    )
    assert (
        "partition  'fast' → expected only for Slurm jobs; here site.scheduler.kind is 'turns'"
        in done.stderr
    )
    assert "site.scheduler.kind  'turns' → expected 'local', 'slurm'" in load_error(
        site_file(tmp_path, {LOCAL: TURNS})
    )


@pytest.mark.slow
def test_a_site_file_may_name_a_measure_of_the_gate(outside: Path, tmp_path: Path) -> None:
    """Judged by its own bounds and rules, each mistake with its path."""
    path = site_file(tmp_path, {NO_PROPERTIES: SQUEEZE})
    done = python(outside, AUTOPIPECCTL, "config", "check", "--effective", "-c", path)
    assert done.returncode == 0, done.stderr
    assert "error_max_mev_per_atom: 20.0" in done.stdout
    wrong = site_file(
        tmp_path, {NO_PROPERTIES: SQUEEZE.replace("0.98", "1.96, eror_max_mev_per_atom: 1")}
    )
    done = python(outside, AUTOPIPECCTL, "config", "check", "-c", wrong)
    assert "training.gate.measures[0].part  1.96 → expected less than 1" in done.stderr
    assert "did you mean 'error_max_mev_per_atom'?" in done.stderr
    wrong = site_file(
        tmp_path, {NO_PROPERTIES: SQUEEZE.replace("measures", "properties: false, measures")}
    )
    done = python(outside, AUTOPIPECCTL, "config", "check", "-c", wrong)
    assert (
        "gate.measures[0].kind  'squeeze' → expected only with training.gate.properties"
        in done.stderr
    )
    assert "no package that is installed brings measures" in load_error(
        site_file(tmp_path, {NO_PROPERTIES: SQUEEZE})
    )


@pytest.mark.codes
@pytest.mark.slow
def test_doctor_asks_each_of_them(outside: Path, tmp_path: Path) -> None:
    """Where the jobs run, out of the archive."""
    changes = {EMT: MORSE, LOCAL: TURNS, NO_PROPERTIES: SQUEEZE, CUTOFF: QUICK}
    engine = {"  gamma_select: ": "  engine: {kind: counted}\n  gamma_select: "}
    path = site_file(tmp_path, {**changes, **engine})
    done = python(outside, AUTOPIPECCTL, "doctor", "--json", "-c", path)
    said = {
        finding["about"]: (finding["colour"], finding["seen"])
        for finding in json.loads(done.stdout)
    }
    assert said["morse"] == ("green", "two atoms have -0.350 eV")
    assert said["squeeze"] == ("green", "crystals can be squeezed")
    assert said["counted"] == ("green", "up to 10 runs of the wheel")
    assert said["quick"][1].endswith("solves with a penalty of 1e-08")
    assert said["turns"][0] == "green"
    assert done.returncode == 0, said


def load_error(path: Path) -> str:
    """What this very Python, which has no such package, has against a site file."""
    with pytest.raises(ConfigurationError) as raised:
        load_config(path)
    return str(raised.value)


@pytest.mark.slow
def test_a_site_file_may_name_a_trainer(outside: Path, tmp_path: Path) -> None:
    """By its settings, where the others are named by a word; judged by its own bounds and rules."""
    path = site_file(tmp_path, {CUTOFF: QUICK})
    done = python(outside, AUTOPIPECCTL, "config", "check", "--effective", "-c", path)
    assert done.returncode == 0, done.stderr
    assert "kind: quick" in done.stdout
    wrong = site_file(tmp_path, {CUTOFF: QUICK.replace("1e-8", "1e7, penality: 3")})
    done = python(outside, AUTOPIPECCTL, "config", "check", "-c", wrong)
    assert "training.trainer.penalty  10000000.0 → expected 1 or less" in done.stderr
    assert "did you mean 'penalty'?" in done.stderr
    wrong = site_file(
        tmp_path, {CUTOFF: QUICK, "functions_per_element: 20": "functions_per_element: 300"}
    )
    done = python(outside, AUTOPIPECCTL, "config", "check", "-c", wrong)
    assert (
        "training.functions_per_element  300 → expected no more than 200 with trainer: quick"
        in done.stderr
    )
    error = load_error(site_file(tmp_path, {CUTOFF: QUICK}))
    assert "training.trainer.kind  'quick' → expected 'linear', 'pacemaker'" in error
    error = load_error(site_file(tmp_path, {CUTOFF: "  trainer: linaer\n" + CUTOFF}))
    assert "training.trainer  'linaer' → expected 'linear', 'pacemaker'" in error
    assert "did you mean 'linear'?" in error


@pytest.mark.slow
def test_a_trainer_brings_the_evaluator_of_its_potentials(outside: Path, tmp_path: Path) -> None:
    """Which says what the engine and a potential of the user's must be."""
    path = site_file(tmp_path, {CUTOFF: PAIRS})
    done = python(outside, AUTOPIPECCTL, "config", "check", "-c", path)
    assert done.returncode == 0, done.stderr
    wrong = site_file(
        tmp_path,
        {CUTOFF: PAIRS, "  gamma_select: ": "  engine: {kind: native}\n  gamma_select: "},
    )
    (tmp_path / "mine.yaml").write_text("")
    wrong.write_text(wrong.read_text() + "start: {potential: mine.yaml}\n")
    done = python(outside, AUTOPIPECCTL, "config", "check", "-c", wrong)
    assert "exploration.engine.kind  'native' → expected wheel" in done.stderr
    assert "start.potential" in done.stderr


_FIT = """
import json, sys
from pathlib import Path
from mlip_autopipec.contract.tasks import parameters_from
from mlip_autopipec.work.job import Job
from mlip_autopipec.work.steps import train
root, asked, labels = Path(sys.argv[1]), json.loads(sys.argv[2]), [Path(path) for path in sys.argv[3:]]
folder = root / "fit"
folder.mkdir(parents=True)
job = Job(root=root, workdir=folder, task="one", parameters=parameters_from(asked), inputs={"label": labels}, cores=1)
metrics = train.run(job).metrics
errors = metrics.test
print(json.dumps([metrics.functions, errors.force_mev_per_angstrom, errors.energy_mev_per_atom]))
"""  # noqa: E501 - text for another program


@pytest.mark.codes
@pytest.mark.slow
def test_a_trainer_from_outside_fits_a_potential(outside: Path, tmp_path: Path) -> None:
    """Active set, γ, errors and all else that follows a fit are those of any other trainer."""
    pytest.importorskip("pyace", reason="needs the demo extra")
    from kit.jobs import train_parameters, training_set  # noqa: PLC0415

    asked = plain(train_parameters()) | {"trainer": {"kind": "quick", "penalty": 1e-8}}
    labels = training_set(tmp_path / "labels")
    done = python(outside, "-c", _FIT, tmp_path / "root", json.dumps(asked), *labels)
    assert done.returncode == 0, done.stderr
    functions, force, energy = json.loads(done.stdout.splitlines()[-1])
    assert functions == 20
    assert force < 10
    assert energy < 10
    assert (tmp_path / "root/potentials/001/potential.asi").exists()


_WALK = """
import json, os, sys
from pathlib import Path
from mlip_autopipec.contract.tasks import parameters_from
from mlip_autopipec.work.job import Job
from mlip_autopipec.work.steps import explore
root, asked, yaml, asi = Path(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
folder = root / "walk"
folder.mkdir(parents=True)
os.chdir(folder)
inputs = {"potential_yaml": [yaml], "potential_asi": [asi]}
job = Job(root=root, workdir=folder, task="one", parameters=parameters_from(asked), inputs=inputs, cores=1)
print(explore.run(job).metrics.ending)
"""  # noqa: E501 - text for another program


@pytest.mark.codes
@pytest.mark.slow
def test_an_engine_from_outside_runs_a_walker(
    outside: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The site file names it by its kind, and the walk is told as any other."""
    pytest.importorskip("pyace", reason="needs the demo extra")
    from kit.jobs import explore_parameters, fit_once  # noqa: PLC0415

    engine = "  engine: {kind: counted, runs_max: 7}\n  gamma_select: "
    done = python(
        outside,
        AUTOPIPECCTL,
        "config",
        "check",
        "-c",
        site_file(tmp_path, {"  gamma_select: ": engine}),
    )
    assert done.returncode == 0, done.stderr
    wrong = site_file(tmp_path, {"  gamma_select: ": engine.replace("7", "0")})
    done = python(outside, AUTOPIPECCTL, "config", "check", "-c", wrong)
    assert "exploration.engine.runs_max  0 → expected 1 or more" in done.stderr
    fitted = fit_once(tmp_path_factory)
    asked = plain(explore_parameters()) | {"engine": {"kind": "counted", "runs_max": 7}}
    done = python(
        outside, "-c", _WALK, tmp_path / "root", json.dumps(asked), fitted.yaml, fitted.asi
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "completed"
    assert (tmp_path / "root/walk/runs.txt").read_text().splitlines()[-1] == "lammps"


@pytest.mark.slow
def test_the_schema_has_it(outside: Path) -> None:
    """With its bounds, beside those that are built in."""
    schema = json.loads(python(outside, AUTOPIPECCTL, "config", "schema").stdout)
    assert schema["$defs"]["MorseOracle"]["properties"]["stiffness"]["maximum"] == 20
    mapping = schema["$defs"]["CalculationSection"]["properties"]["oracle"]["discriminator"][
        "mapping"
    ]
    assert sorted(mapping) == ["ase", "espresso", "morse"]


@pytest.mark.slow
def test_jobs_find_it_in_the_archive_alone(outside: Path, tmp_path: Path) -> None:
    """Where nothing of it is installed; and its bytes are part of the archive's name."""
    code = (
        "from mlip_autopipec.contract.registry import entries; from"
        " mlip_autopipec.schedulers.shipment import pack;import pathlib, sys; shipment ="
        " pack([entries('oracles')['morse']]);pathlib.Path(sys.argv[1]).write_bytes(shipment.content);"  # noqa: E501 - text for another program
        " print(pack().sha256 != shipment.sha256)"
    )
    archive = tmp_path / "payload.pyz"
    done = python(outside, "-c", code, archive)
    assert done.stdout == "True\n", done.stderr
    asked = {"kind": "morse", "depth_ev": 0.35, "distance_angstrom": 2.6}
    question = json.dumps({"oracle": asked, "elements": ["Cu"], "distance_min_angstrom": 1.5})
    seen = python(tmp_path / "nothing", "-P", archive, "examine", "oracle", stdin=question)
    assert json.loads(seen.stdout.strip()) == {
        "fit": True,
        "words": "two atoms have -0.350 eV",
        "sure": True,
    }


@pytest.mark.slow
def test_a_package_that_cannot_be_loaded_is_told_of_where_it_is_named(tmp_path: Path) -> None:
    """And is in nobody's way."""
    outside = laid_out(tmp_path / "outside", {"morse": "toy_codes.nowhere:ORACLE"})
    assert (
        python(outside, AUTOPIPECCTL, "config", "check", "-c", site_file(tmp_path, {})).returncode
        == 0
    )
    done = python(outside, AUTOPIPECCTL, "config", "check", "-c", site_file(tmp_path, {EMT: MORSE}))
    assert done.returncode == 2
    assert "calculation.oracle.kind  'morse' → expected a code that can be used" in done.stderr
    assert "brought by toy-codes" in done.stderr
    assert "No module named 'toy_codes.nowhere'" in done.stderr


@pytest.mark.slow
def test_a_measure_that_cannot_be_loaded_is_told_too(tmp_path: Path) -> None:
    """Where it is the only one that there is."""
    outside = laid_out(
        tmp_path / "outside", {"squeeze": "toy_codes.nowhere:MEASURE"}, seam="measures"
    )
    done = python(
        outside,
        AUTOPIPECCTL,
        "config",
        "check",
        "-c",
        site_file(tmp_path, {NO_PROPERTIES: SQUEEZE}),
    )
    assert done.returncode == 2
    assert "training.gate.measures[0]" in done.stderr
    assert "No module named 'toy_codes.nowhere'" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "oracle", "holder"), [("ase", EMT, "mlip_autopipec"), ("morse", MORSE, "toy-codes")]
)
def test_a_name_that_is_taken_twice_is_refused(
    tmp_path: Path, name: str, oracle: str, holder: str
) -> None:
    """A built-in one, and that of another package: of whoever names it, and of nobody else."""
    outside = laid_out(tmp_path / "outside")
    laid_out(outside, {name: "toy_codes.other:ORACLE"}, name="two-codes")
    done = python(
        outside, AUTOPIPECCTL, "config", "check", "-c", site_file(tmp_path, {EMT: oracle})
    )
    assert done.returncode == 2
    assert f"two packages bring oracles of the name '{name}': {holder} has" in done.stderr
    assert "Traceback" not in done.stderr
    other = site_file(tmp_path, {EMT: MORSE if oracle == EMT else EMT})
    assert python(outside, AUTOPIPECCTL, "config", "check", "-c", other).returncode == 0
