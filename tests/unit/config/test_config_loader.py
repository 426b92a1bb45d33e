"""Reading a site file, and writing it out again."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.site_files import SITE, mistakes, spoiled, write

from mlip_autopipec.config.loader import LoadedConfig, effective_yaml, json_schema, load_config
from mlip_autopipec.config.paths import anchored, unusable_folders
from mlip_autopipec.config.schemas.site import LocalTransportSection
from mlip_autopipec.config.schemas.units import parse_duration_s, parse_memory_mib
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.errors import ConfigurationError
from mlip_autopipec.work.codes.ase.settings import AseOracle

REPOSITORY = Path(__file__).resolve().parents[3]
CAMPAIGNS = sorted(REPOSITORY.glob("config/campaigns/*.yaml"))


def loaded(folder: Path, *changes: tuple[str, str]) -> LoadedConfig:
    """SITE with these changes, loaded."""
    return load_config(write(folder, spoiled(*changes)))


def refused(path: Path) -> str:
    """The message that this path is refused with."""
    with pytest.raises(ConfigurationError) as caught:
        load_config(path)
    return str(caught.value)


def test_a_file_in_order_is_loaded(tmp_path: Path) -> None:
    """Values arrive as the models have them: tuples, phases, seconds and MiB."""
    config = loaded(tmp_path).config
    assert config.campaign.elements == ("Cu", "Au")
    assert config.site.poll_interval == 30
    assert config.site.resources_of(Phase.TRAINING).memory_mib == 4096
    assert config.site.resources_of(Phase.TRAINING).walltime_s == 7200


@pytest.mark.parametrize(
    "path", sorted(REPOSITORY.glob("config/**/*.yaml")), ids=lambda path: path.name
)
def test_every_site_file_that_is_shipped_is_in_order(path: Path) -> None:
    """What a user begins with has no mistake."""
    assert load_config(path).path == path


def test_there_are_site_files_to_ship() -> None:
    """The test above looks where they are."""
    assert (REPOSITORY / "config" / "demo.yaml").is_file()
    assert list(CAMPAIGNS)


@pytest.mark.parametrize("path", CAMPAIGNS, ids=lambda path: path.name)
def test_a_campaign_is_said_in_sixty_lines(path: Path) -> None:
    """A whole campaign fits on a page, and its folders lie where the checkout ignores them."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
    assert load_config(path).config.campaign.folder.is_relative_to(REPOSITORY / "campaigns")


def test_paths_are_relative_to_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not to where the program was started; `..` is taken out."""
    folder = tmp_path / "sites"
    folder.mkdir()
    write(
        folder,
        spoiled(("folder: run", "folder: ../run"), ("root: run/root", "root: /scratch/alloy")),
    )
    monkeypatch.chdir(tmp_path)
    result = load_config(Path("sites/../sites/site.yaml"))
    assert result.path == folder / "site.yaml"
    assert result.config.campaign.folder == tmp_path / "run"
    assert result.config.site.root == Path("/scratch/alloy")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~/run` is under HOME, never a folder of that name beside the file."""
    monkeypatch.setenv("HOME", "/home/someone")
    assert loaded(tmp_path, ("folder: run", "folder: ~/run")).config.campaign.folder == Path(
        "/home/someone/run"
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [("python3.12", "python3.12"), ("env/bin/python", "{folder}/env/bin/python")],
)
def test_the_sites_python_is_a_command_or_a_path(tmp_path: Path, written: str, meant: str) -> None:
    """A bare word is looked up where jobs run; a path is this machine's, and its links are kept."""
    config = loaded(tmp_path, ("root: run/root", f"root: run/root\n  python: {written}")).config
    assert config.site.python == meant.format(folder=tmp_path)


def test_the_root_of_another_machine_is_left_as_it_is(tmp_path: Path) -> None:
    """Only that machine knows where it is; the campaign's folder is still here."""
    config = loaded(tmp_path).config
    elsewhere = LocalTransportSection.model_construct(kind="ssh")  # type: ignore[arg-type] # stands for any other kind
    changes = {"transport": elsewhere, "root": Path("scratch/$USER"), "python": "env/bin/python"}
    site = config.site.model_copy(update=changes)
    right = {"site.transport": elsewhere, "site.root": site.root}
    assert list(unusable_folders(right, tmp_path)) == []
    there = anchored(config.model_copy(update={"site": site}), tmp_path)
    assert (there.site.root, there.site.python) == (Path("scratch/$USER"), "env/bin/python")
    assert there.campaign.folder == tmp_path / "run"


def test_the_hash_is_of_the_meaning(tmp_path: Path) -> None:
    """Comments, order, spelled-out defaults and other units of the same amount do not change it.

    Values do.
    """
    first = loaded(tmp_path).sha256
    same = spoiled(
        ("  seed: 7\n", ""),
        ("  name: alloy", "  seed: 7  # any\n  name: alloy"),
        ("poll_interval: 30 s", "poll_interval: 0.5 min\n  grace: 2 min"),
    )
    assert load_config(write(tmp_path, same)).sha256 == first
    assert loaded(tmp_path, ("seed: 7", "seed: 8")).sha256 != first


def test_the_hash_does_not_know_the_order_of_phases(tmp_path: Path) -> None:
    """In a mapping, as in a section, order means nothing."""
    old = "  resources:\n"
    before = loaded(tmp_path, (old, f"{old}    selection: {{cores: 2}}\n"))
    after = loaded(
        tmp_path, ("distance_min_angstrom", "    selection: {cores: 2}\ndistance_min_angstrom")
    )
    assert list(before.config.site.resources) != list(after.config.site.resources)
    assert before.sha256 == after.sha256


def test_what_is_written_out_reads_back_the_same(tmp_path: Path) -> None:
    """Round trip, in another folder: paths are absolute by then."""
    first = loaded(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    second = load_config(write(other, effective_yaml(first.config)))
    assert second.config == first.config
    assert second.sha256 == first.sha256


def test_what_is_written_out_has_every_default_with_its_unit(tmp_path: Path) -> None:
    """Nothing is left for the reader to look up."""
    text = effective_yaml(loaded(tmp_path).config)
    for line in (
        "  poll_interval: 30 s",
        "  grace: 2 min",
        "      memory: 4 GiB",
        "      walltime: 2 h",
    ):
        assert f"\n{line}\n" in text
    assert "\n  gamma_select: 2.0\n" in text
    assert "\n  stalled_cycles: 6\n" in text
    assert "\n  python: null\n" in text


def test_arguments_of_the_calculator_survive_being_written_out(tmp_path: Path) -> None:
    """Text that looks like something else stays text."""
    arguments = {
        "a": "2024-01-01",
        "b": "1e5",
        "c": "no",
        "d": "null",
        "e": [1, {"f": None}],
        "g": " x: #y\n",
        "é": 1.5,
    }
    change = ("    kind: ase", f"    kind: ase\n    arguments: {json.dumps(arguments)}")
    first = loaded(tmp_path, change)
    assert first.config.calculation.oracle == AseOracle(
        calculator="ase.calculators.emt.EMT", arguments=arguments
    )
    assert load_config(write(tmp_path, effective_yaml(first.config))).config == first.config


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.yaml", "{folder}/missing.yaml does not exist"),
        ("sites.yaml", "{folder}/sites.yaml does not exist; did you mean 'site.yaml'?"),
        ("folder", "{folder}/folder is a folder; a site file is expected"),
        ("site.yaml/x", "{folder}/site.yaml/x cannot be read: Not a directory"),
    ],
)
def test_what_is_no_file_is_named(tmp_path: Path, name: str, message: str) -> None:
    """The message has the whole path, and the file that was most likely meant."""
    write(tmp_path, SITE)
    (tmp_path / "folder").mkdir()
    assert refused(tmp_path / name).startswith(message.format(folder=tmp_path))


def test_bytes_that_are_not_utf8_are_placed(tmp_path: Path) -> None:
    """By line and value."""
    path = tmp_path / "site.yaml"
    path.write_bytes(SITE.encode().replace(b"seed: 7", b"seed: 7 # \xe9"))
    assert refused(path) == f"site.yaml:4  byte 0xe9 → expected text in UTF-8 ({path})"


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    """Some editors write one."""
    path = tmp_path / "site.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SITE.encode())
    assert load_config(path).config.campaign.name == "alloy"


def test_the_root_of_a_site_must_not_be_a_file(tmp_path: Path) -> None:
    """Like the campaign's folder."""
    (tmp_path / "file").touch()
    [line] = mistakes(tmp_path, spoiled(("root: run/root", "root: file/root")))
    assert (
        line
        == f"site.yaml:7  site.root  'file/root' → expected a folder; {tmp_path / 'file'} is none"
    )


def test_folders_that_exist_are_used(tmp_path: Path) -> None:
    """A campaign is loaded again and again."""
    (tmp_path / "run" / "root").mkdir(parents=True)
    assert loaded(tmp_path).config.site.root == tmp_path / "run" / "root"


def sections_of(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema of the file and of every section in it."""
    yield schema
    yield from (section for section in schema["$defs"].values() if section["type"] == "object")


def test_the_schema_knows_every_key_and_no_other() -> None:
    """An editor marks each misspelled key."""
    schema: dict[str, Any] = json_schema()
    assert schema["title"] == "site.yaml"
    assert list(schema["properties"]) == list(WorkflowConfig.model_fields)
    assert [
        section["title"]
        for section in sections_of(schema)
        if section["additionalProperties"] is not False
    ] == []
    assert schema["$defs"]["SiteSection"]["properties"]["resources"]["propertyNames"] == {
        "$ref": "#/$defs/Phase"
    }


def test_the_schema_describes_every_section() -> None:
    """An editor shows what it is for."""
    assert [
        section["title"] for section in sections_of(json_schema()) if not section.get("description")
    ] == []


def test_the_schema_has_quantities_as_they_are_written() -> None:
    """Durations and memory are text with a unit, in their patterns, examples and defaults alike."""
    definitions: Any = json_schema()["$defs"]
    properties = {
        **definitions["SiteSection"]["properties"],
        **definitions["ResourcesSection"]["properties"],
    }
    assert [
        properties[key]["type"] for key in ("poll_interval", "grace", "walltime", "memory")
    ] == ["string"] * 4
    assert parse_duration_s(properties["grace"]["default"]) == 120
    assert parse_memory_mib(properties["memory"]["default"]) == 2048
    assert [parse_duration_s(example) for example in properties["grace"]["examples"]] == [
        1200,
        7200,
    ]
    assert json.dumps(json_schema())


def test_every_required_key_of_a_section_says_what_it_is_for() -> None:
    """So that the message about a missing one can."""
    definitions: Any = json_schema()["$defs"]
    undescribed = [
        f"{name}.{key}"
        for name, section in definitions.items()
        if name != "Prototype"
        for key in section.get("required", ())
        if not section["properties"][key].get("description")
    ]
    assert undescribed == []


def test_reading_a_site_file_loads_no_physics_and_no_event_loop() -> None:
    """`autopipecctl` answers at once."""
    program = (
        "import sys, mlip_autopipec.config.loader;"
        "print([name for name in ('ase', 'numpy', 'asyncio') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert answer.stdout.strip() == "[]"


def test_what_a_file_leaves_out_is_left_out_of_what_is_loaded(tmp_path: Path) -> None:
    """Weights and penalty follow the basis: absolute paths do not make a default a wish."""
    named = loaded(tmp_path).config.training.balance()
    assert (named.energy_weight, named.ridge) == (100.0, 1e-8)
    chosen = loaded(
        tmp_path, ("functions_per_element: 100", "functions_per_element: auto")
    ).config.training
    assert chosen.balance() == ("auto",) * 4
    assert chosen.model_fields_set < set(type(chosen).model_fields)
