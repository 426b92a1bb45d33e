"""The mutants themselves: what is broken, what is noticed, and that the lists fit the code."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mutants import ROOT, by_chance, named, read_explained
from mutants_rooms import ROOMS, Room
from mutants_run import Baseline, Copy, Ran, Server
from mutants_table import RoomReport, render, seen_now
from mutation import Mutant, compiles, edit, mutants_of, sample

SOURCE = '''\
"""A toy."""

import os

NAME = "toy"


class Toy:
    """Counts."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, fd: int, more: int) -> int:
        if more > 0 and fd:
            self.count += more
            os.fsync(fd)
        if more < 0:
            raise ValueError("less")
        return self.count
'''
TESTS = """\
import pytest
from mlip_autopipec.toy.toy import NAME, Toy

def test_adds():
    assert Toy().add(1, 2) == 2

def test_refuses():
    with pytest.raises(ValueError):
        Toy().add(1, -1)

def test_is_about_a_text():
    assert NAME == "toy"
"""


def of_kind(kind: str) -> list[tuple[str, str]]:
    """Old and new text of the toy's mutants of a kind."""
    return [(each.old, each.new) for each in mutants_of("toy.py", SOURCE) if each.kind == kind]


def test_every_kind_of_edit_is_made() -> None:
    """Of what the toy does, and of nothing that is for people."""
    assert of_kind("comparison") == [("more > 0", "(more >= 0)"), ("more < 0", "(more <= 0)")]
    assert of_kind("and/or") == [("more > 0 and fd", "(more > 0 or fd)")]
    assert of_kind("dropped call") == [("os.fsync(fd)", "pass")]
    assert of_kind("dropped assignment") == [("self.count += more", "pass")]
    assert of_kind("removed raise") == [('raise ValueError("less")', "pass")]
    assert of_kind("return") == [("return self.count", "return None")]
    assert ("0", "1") in of_kind("constant")
    assert all(compiles(each.apply(SOURCE)) for each in mutants_of("toy.py", SOURCE))


def test_steps_are_swapped_where_the_second_does_not_need_the_first() -> None:
    """The order of syncs, renames and cuts is a promise."""
    source = "def f(a):\n    a.write()\n    a.sync()  # first\n    b = a.name()\n    b.close()\n"
    swapped = [each.apply(source) for each in mutants_of("f.py", source) if each.kind == "swapped"]
    assert swapped == [
        "def f(a):\n    a.sync()\n    a.write()  # first\n    b = a.name()\n    b.close()\n",
        "def f(a):\n    a.write()\n    b = a.name()  # first\n    a.sync()\n    b.close()\n",
    ]


def test_the_choice_is_the_same_again_and_has_every_kind() -> None:
    """By the seed alone."""
    every = mutants_of("toy.py", SOURCE)
    kinds = {each.kind for each in every}
    chosen = sample(every, len(kinds), seed=1)
    assert chosen == sample(every, len(kinds), seed=1)
    assert {each.kind for each in chosen} == kinds
    assert any(sample(every, 3, seed) != sample(every, 3, seed + 1) for seed in range(5))


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_written_by_hand_fits_the_code(room: str) -> None:
    """A mutant whose text is gone would break nothing."""
    for mutant in named(room):
        assert compiles(mutant.apply((ROOT / mutant.file).read_text())), mutant.promise


def test_what_is_written_by_hand_names_the_test_that_catches_it() -> None:
    """By a part of its name."""
    written = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    tests = re.findall(r"def (test_\w+)", written)
    for each in (mutant for room in ROOMS for mutant in named(room)):
        assert each.first, each.promise
        assert any(each.first.partition("[")[0] in name for name in tests), each.first


def test_what_is_explained_is_still_there() -> None:
    """Every reason is of a mutant that the code allows today."""
    allowed = {mutant.key for room in ROOMS for mutant in named(room)}
    for room in ROOMS:
        for file in ROOMS[room].files(ROOT):
            allowed |= {mutant.key for mutant in mutants_of(file, (ROOT / file).read_text())}
    assert sorted(read_explained().keys() - allowed) == []


def test_enough_mutants_are_made_by_chance() -> None:
    """As many as each room is to have."""
    assert sum(room.mutants for room in ROOMS.values()) >= 200
    assert len(by_chance("journal", ROOMS["journal"].mutants, 1)) == ROOMS["journal"].mutants


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """A checkout of one module, its tests, and what runs mutants."""
    root = tmp_path_factory.mktemp("toy") / "root"
    package = root / "mlip_autopipec" / "toy"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "toy.py").write_text(SOURCE)
    (root / "tests" / "mutants").mkdir(parents=True)
    (root / "tests" / "test_toy.py").write_text(TESTS)
    (root / "pyproject.toml").write_text("[tool.pytest.ini_options]\nasyncio_mode = 'auto'\n")
    for name in ("probe", "trace"):
        shutil.copy2(ROOT / f"tests/mutants/mutants_{name}.py", root / "tests/mutants")
    names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    with Copy(root, names) as copy:
        yield copy


TOY = Room(sources=("toy/toy.py",), tests=("tests/test_toy.py",), mutants=0)


@pytest.fixture(scope="module")
def server(toy: Copy) -> Iterator[Server]:
    with toy.serve(TOY.tests) as served:
        yield served


@pytest.fixture(scope="module")
def baseline(toy: Copy, server: Server) -> Baseline:
    return toy.baseline(server, TOY)


def mutant(old: str, new: str) -> Mutant:
    return edit("mlip_autopipec/toy/toy.py", SOURCE, old, new, "a promise")


def test_a_test_that_ran_the_line_catches_a_mutant(
    toy: Copy, server: Server, baseline: Baseline
) -> None:
    """And no other test is run."""
    ran = toy.run(server, mutant("self.count += more", "pass"), baseline)
    assert (ran.caught, ran.hung, ran.by) == (True, False, "tests/test_toy.py::test_adds")
    assert baseline.of(ran.mutant) == ["tests/test_toy.py::test_adds"]


def test_what_no_test_holds_survives(toy: Copy, server: Server, baseline: Baseline) -> None:
    """The sync was dropped, and no test looks."""
    ran = toy.run(server, mutant("            os.fsync(fd)\n", ""), baseline)
    assert not ran.caught
    assert ran.tests == 1


def test_a_mutant_outside_of_any_function_is_imported_anew(
    toy: Copy, server: Server, baseline: Baseline
) -> None:
    """In a process of its own; the file is as it was thereafter."""
    assert toy.run(server, mutant("import os\n", "raise OSError\n"), baseline).caught
    assert (toy.folder / "mlip_autopipec/toy/toy.py").read_text() == SOURCE


def test_a_text_is_exchanged_wherever_it_was_imported(
    toy: Copy, server: Server, baseline: Baseline
) -> None:
    """Scripts are such texts."""
    ran = toy.run(server, mutant('"toy"', '"ploy"'), baseline)
    assert ran.by == "tests/test_toy.py::test_is_about_a_text"


def test_a_mutant_that_hangs_is_caught(toy: Copy, server: Server, baseline: Baseline) -> None:
    """Its time is bounded."""
    hangs = mutant("            self.count += more\n", "            while True: pass\n")
    with toy.mutated(hangs):
        asked = {"file": hangs.file, "function": hangs.function}
        found = server.ask(baseline.of(hangs), 1.0, **asked)
    assert found["status"] is None
    assert not toy.run(server, mutant("more < 0", "more <  0"), baseline).caught


def test_the_page_counts_what_became_of_them(tmp_path: Path) -> None:
    """A survivor without a reason is told; one with a reason is told with it."""
    edits = [
        ("self.count += more", "pass"),
        ("more > 0", "more > 1"),
        ("os.fsync(fd)", "pass"),
        ("more < 0", "more < 1"),
    ]
    rows = [mutant(old, new) for old, new in edits]
    ran = [
        Ran(rows[0], caught=True, by="tests/a.py::test_a", hung=False, tests=1, took_s=1.0),
        Ran(rows[1], caught=True, by="", hung=True, tests=1, took_s=1.0),
        Ran(rows[2], caught=False, by="", hung=False, tests=1, took_s=1.0),
        Ran(rows[3], caught=False, by="", hung=False, tests=1, took_s=1.0),
    ]
    explained = {rows[3].key: "it is all the same"}
    RoomReport("toy", ran, explained, 60.0, seen_now(ROOT)).save(tmp_path / "toy.json")
    report = RoomReport.load(tmp_path / "toy.json", explained)
    assert [each.mutant for each in report.survivors] == [rows[2]]
    page = render([report], seed=1)
    assert "| toy | 4 | 1 | 0 | 1 | 1 | 1 | 66.7 % | 1 min | by hand alone; 2" in page
    assert "it is all the same" in page
    assert "`test_a`" in page
    assert sys.version.split()[0] in page
