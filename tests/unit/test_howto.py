"""Pages of docs/how-to on what people bring: their commands are run, with the files they name."""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.io import write
from kit.adopting import label, results, sound_set
from kit.jobs import fit_once
from kit.pages import HOW_TO, Reader, blocks_of, paste, put_into, with_names
from ruamel.yaml import YAML

from mlip_autopipec.starter import Wishes, site_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CHECK = "autopipecctl config check"


def reader(page: str, folder: Path, without: Mapping[str, str] | None = None) -> Reader:
    """Somebody with the site file that `config init` writes for copper."""
    text = site_file(Wishes(elements=("Cu",), oracle="ase"), folder / "site.yaml")
    (folder / "site.yaml").write_text(text)
    return Reader.of(page, folder, without)


def refusal(folder: Path) -> str:
    """Why the site file is refused now."""
    done = paste(f"{CHECK} --config site.yaml", folder)
    assert done.returncode == 2, done.stdout
    return done.stderr


def copper(count: int, seed: int = 1) -> list[Atoms]:
    """Labelled frames, as near to each other as those of a walk."""
    frames = []
    for atoms in sound_set(count, seed):
        atoms.set_chemical_symbols(["Cu"] * len(atoms))
        frames.append(label(atoms))
    return frames


# --- own-labels.md --------------------------------------------------------------------------------


def two_files(folder: Path) -> None:
    """Forty labels and twenty more."""
    write(folder / "mine.extxyz", copper(40))
    write(folder / "more.extxyz", copper(20, seed=2))


def named_in_hartree(folder: Path) -> None:
    """Names and units of the page's example, beside energies of another kind."""
    frames = []
    for labelled in copper(60):
        found, atoms = results(labelled), labelled.copy()
        virial = -atoms.get_volume() * labelled.get_stress(voigt=False)
        atoms.info |= {"REF_energy": found["energy"] / units.Hartree, "energy": 0.1}
        atoms.info["REF_virial"] = virial / units.Hartree
        atoms.set_array("REF_forces", found["forces"] * units.Bohr / units.Hartree)
        frames.append(atoms)
    write(folder / "mine.extxyz", frames)


def one_is_faulty(folder: Path) -> None:
    """Sixty labels, and one more without a number for a force."""
    frames = copper(61)
    results(frames[6])["forces"][0, 0] = np.nan
    write(folder / "mine.extxyz", frames)


def of_other_zeros(folder: Path) -> None:
    """Sixty labels with the energy of its core in each atom's."""
    frames = copper(60)
    for frame in frames:
        results(frame)["energy"] -= 45059.3 * len(frame)
    write(folder / "mine.extxyz", frames)


#: For each block of the page: what makes its files, what is said without the block's keys, and what
#: with them.
LABELS: Sequence[tuple[Callable[[Path], None], str, str]] = (
    (two_files, "", ""),
    (
        named_in_hartree,
        "REF_energy",
        "energy from REF_energy; forces from REF_forces; virial from REF_virial",
    ),
    (one_is_faulty, "frame 7 of mine.extxyz", "left out of the data set: frame 7 of mine.extxyz"),
    (of_other_zeros, "", ""),
)


@pytest.mark.parametrize("number", range(len(LABELS)))
def test_labels_of_yours_are_judged_and_counted(tmp_path: Path, number: int) -> None:
    """Each block of the page; without its keys what it mends is refused."""
    block = blocks_of(HOW_TO / "own-labels.md")[number]
    make, refused, said = LABELS[number]
    make(tmp_path)
    page = reader("own-labels.md", tmp_path)
    if refused:
        put_into(tmp_path / "site.yaml", "dataset: {files: [mine.extxyz]}")
        assert refused in refusal(tmp_path)
    put_into(tmp_path / "site.yaml", block)
    shown = page.run("config check")
    assert page.commands == []
    assert "the data set has 54 labels to train on and 6 to test" in shown
    assert "3 of them are labelled again" in shown
    assert "20 train, 6 test" in shown  # what generation makes is there as well
    assert said in shown


def test_every_block_of_the_page_on_labels_is_tried() -> None:
    """None is left out of the table above."""
    assert len(blocks_of(HOW_TO / "own-labels.md")) == len(LABELS)


def test_labels_may_be_all_that_a_campaign_begins_with(tmp_path: Path) -> None:
    """No structure is generated."""
    page = reader("own-labels.md", tmp_path)
    two_files(tmp_path)
    rewrite(tmp_path / "site.yaml", lambda said: said.pop("generation"))
    put_into(tmp_path / "site.yaml", blocks_of(HOW_TO / "own-labels.md")[0])
    assert "the bootstrap asks for 3 labels (3 of the data set again)" in page.run("config check")


def rewrite(path: Path, edit: Callable[[Any], object]) -> None:
    """A site file after an edit."""
    said = YAML(typ="safe").load(path.read_text())
    edit(said)
    with path.open("w") as stream:
        YAML(typ="safe").dump(said, stream)


# --- own-potential.md -----------------------------------------------------------------------------


@pytest.mark.codes
def test_a_potential_of_yours_is_read(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With its active set, or without; an active set of another potential is refused."""
    pytest.importorskip("pyace", reason="needs the demo extra")
    fitted, page = fit_once(tmp_path_factory), reader("own-potential.md", tmp_path)
    shutil.copy(fitted.yaml, tmp_path / "mine.yaml")
    shutil.copy(fitted.asi, tmp_path / "mine.asi")
    (block,) = blocks_of(HOW_TO / "own-potential.md")
    put_into(tmp_path / "site.yaml", block)
    assert "the bootstrap asks for 39 labels" in page.run("config check")  # needed all the same
    assert page.commands == []
    with (tmp_path / "mine.asi").open("wb") as stream:
        np.savez(stream, **dict.fromkeys(np.load(fitted.asi), np.eye(3)))  # type: ignore[arg-type]
    assert "mine.asi is no active set of" in refusal(tmp_path)
    rewrite(tmp_path / "site.yaml", lambda said: said["start"].pop("active_set"))
    assert paste(f"{CHECK} --config site.yaml", tmp_path).returncode == 0


# --- pool.md --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1])
def test_a_pool_of_frames_is_read(tmp_path: Path, number: int) -> None:
    """Alone, and beside walkers."""
    page = reader("pool.md", tmp_path)
    pool_of(tmp_path / "frames.extxyz", 30)
    blocks = blocks_of(HOW_TO / "pool.md")
    assert len(blocks) == 2
    put_into(tmp_path / "site.yaml", blocks[number])
    assert "frames.extxyz: 30 structures, Cu8" in page.run("config check")
    assert page.commands == []


def pool_of(path: Path, count: int, **changes: Any) -> None:
    """Frames without labels, the last with these attributes."""
    frames = [atoms.copy() for atoms in copper(count)]
    for name, value in changes.items():
        setattr(frames[-1], name, value)
    write(path, frames)


def test_a_pool_with_a_frame_that_cannot_be_labelled_is_refused(tmp_path: Path) -> None:
    """Another element, a cell that is none, atoms too close: each is told by its file."""
    reader("pool.md", tmp_path)
    symbols = ["Au"] + ["Cu"] * 7
    pool_of(tmp_path / "stranger.extxyz", 4, symbols=symbols)
    pool_of(tmp_path / "flat.extxyz", 4, cell=[7.2, 7.2, 0])
    pool_of(tmp_path / "close.extxyz", 4, positions=np.eye(8, 3))
    pools = ["stranger.extxyz", "flat.extxyz", "close.extxyz"]
    rewrite(
        tmp_path / "site.yaml",
        lambda said: said["exploration"].update(walkers=[{"pool": pool} for pool in pools]),
    )
    lines = refusal(tmp_path)
    for pool, wrong in zip(pools, ("Au", "cell", "Å apart"), strict=True):
        (line,) = (each for each in lines.splitlines() if pool in each)
        assert wrong in line


# --- teacher.md -----------------------------------------------------------------------------------

#: What installs somebody else's package: too large, and not this project's to try.
NOT_RUN = {
    "python3.11 -m venv /home/you/envs/chgnet": (
        "makes an environment, which this Python stands in for"
    ),
    "/home/you/envs/chgnet/bin/pip install torch==2.13.0 chgnet==0.4.2": (
        "some 2 GB from a registry"
    ),
}
#: What the page's example has of its own, and what this machine has in its place.
HERE = {
    "chgnet.model.dynamics.CHGNetCalculator": "ase.calculators.emt.EMT",
    "{use_device: cpu}": "{}",
    "/home/you/envs/chgnet/bin/python": sys.executable,
    "cores: 4": "cores: 1",  # of this machine, which may have no more
    "memory: 8 GiB": "memory: 1 GiB",
}


@pytest.mark.codes
def test_a_teacher_walks_and_its_price_is_told(tmp_path: Path) -> None:
    """In the Python that the page gives it, from each crystal."""
    page = reader("teacher.md", tmp_path, NOT_RUN)
    (block,) = blocks_of(HOW_TO / "teacher.md")
    assert [example for example in HERE if example not in block] == []
    # not made so
    rewrite(tmp_path / "site.yaml", lambda said: said["generation"].pop("variations"))
    put_into(tmp_path / "site.yaml", with_names(block, HERE))
    shown = page.run("doctor")
    assert page.commands == []
    (line,) = (each for each in shown.splitlines() if "teacher" in each)
    assert "ase.calculators.emt.EMT walks Cu fcc: a structure of 32 atoms takes" in line
    assert "(100 steps)" in line


# --- own-structures.md ----------------------------------------------------------------------------


def test_structures_of_yours_are_labelled_and_walked_from(tmp_path: Path) -> None:
    """The site file that is written has them in both, and the page's own block passes the check."""
    page = Reader.of("own-structures.md", tmp_path)
    write(tmp_path / "grain.cif", bulk("Cu", "fcc", a=3.61, cubic=True).repeat((2, 2, 1)))
    frames = [atoms.copy() for atoms in copper(3)]
    for name in ("melt.extxyz", "snapshots.extxyz"):
        write(tmp_path / name, frames)
    page.run("config init")
    assert page.commands == []
    said = YAML(typ="safe").load((tmp_path / "site.yaml").read_text())
    assert said["campaign"]["elements"] == ["Cu"]
    assert said["generation"]["files"] == ["grain.cif", "melt.extxyz"]
    walked = [each["file"] for each in said["exploration"]["walkers"] if "file" in each]
    assert walked == ["grain.cif", "melt.extxyz"]
    (tmp_path / "site.yaml").unlink()
    page = reader("own-structures.md", tmp_path)
    (block,) = blocks_of(HOW_TO / "own-structures.md")
    put_into(tmp_path / "site.yaml", block)
    done = paste(f"{CHECK} --config site.yaml", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "snapshots.extxyz: 3 structures" in done.stdout
    assert "20 train" in done.stdout  # 12, 4 variations, and every frame of each file


def test_structures_that_no_walker_or_label_can_be_are_refused(tmp_path: Path) -> None:
    """Each with its reason, all of them at once."""
    reader("own-structures.md", tmp_path)
    whole = bulk("Cu", "fcc", a=3.61, cubic=True)
    write(tmp_path / "none.extxyz", Atoms("Cu", positions=[[0, 0, 0]]))
    write(tmp_path / "stranger.cif", bulk("Ag", "fcc", a=4.09, cubic=True))
    write(tmp_path / "close.cif", bulk("Cu", "fcc", a=1.8, cubic=True))
    write(tmp_path / "huge.extxyz", whole)
    partly = whole.copy()
    partly.info["occupancy"] = {str(kind): {"Cu": 0.5} for kind in range(4)}
    partly.set_array("spacegroup_kinds", np.arange(4))
    write(tmp_path / "partly.cif", partly)
    wrong = {
        "none.extxyz": "cell",
        "stranger.cif": "Ag",
        "close.cif": "Å apart",
        "partly.cif": "partly occupied",
    }

    def bring(said: Any) -> None:
        said["generation"]["files"] = list(wrong)
        walkers = {
            "file": "huge.extxyz",
            "repeat": [200, 200, 200],
            "temperatures_kelvin": [300],
            "steps": 20,
        }
        said["exploration"]["walkers"].append(walkers)

    rewrite(tmp_path / "site.yaml", bring)
    lines = refusal(tmp_path).splitlines()
    for name, reason in {**wrong, "huge.extxyz": "MiB"}.items():
        assert [reason in line for line in lines if name in line] == [True], lines
