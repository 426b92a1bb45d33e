"""Names of the product: no two classes share one, and each says what it names."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import mlip_autopipec

ROOT = Path(mlip_autopipec.__file__).parent


@cache
def modules() -> Mapping[str, ast.Module]:
    """Each module of the product by its path below the package."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(ROOT.rglob("*.py"))
    }


def test_no_class_name_stands_twice() -> None:
    indices: dict[str, list[str]] = defaultdict(list)
    for file, module in modules().items():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                indices[node.name].append(f"{file}:{node.lineno}")
    assert len(indices) > 200
    assert {name: found for name, found in indices.items() if len(found) > 1} == {}


#: Words that name nothing: a reader has to look up what stands behind each.
VAGUE = {"words", "told", "one", "place", "places"}
#: Where `uid` is a person's on Unix, as everywhere else; a batch has a job name.
OF_UNIX = {
    "control/address.py",
    "control/listener.py",
    "control/names.py",
    "control/server.py",
    "data_models/events.py",
    "orchestration/adoption.py",
    "orchestration/first_labels.py",
    "process.py",
    "transports/control_path.py",
}


def names_in(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Everything that a module gives a name to, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno
            case ast.arg(arg=name):
                yield name, node.lineno
            case (
                ast.ClassDef(name=name)
                | ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
            ):
                yield name, node.lineno
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name, node.lineno
            case _:
                pass


def unclear(name: str, file: str) -> bool:
    """Whether it is no name for what it names, by itself or in its parts."""
    parts = name.strip("_").lower().split("_")
    if {"uid", "uids"} & set(parts):
        return file not in OF_UNIX
    return name.strip("_").lower() in VAGUE or not {"words", "told"}.isdisjoint(parts)


@pytest.mark.parametrize(
    "name", ["words", "_told", "told_max", "gate_words", "Place", "one", "uid", "batch_uid"]
)
def test_a_name_that_says_nothing_is_found(name: str) -> None:
    """Alone, with an underscore, and as a part."""
    assert unclear(name, "orchestration/loop.py")


@pytest.mark.parametrize(
    "name", ["job_name", "message", "one_line", "place_new", "keyword", "uidtable"]
)
def test_a_name_that_says_what_it_names_is_none(name: str) -> None:
    """Also one with such a word in it, that says more."""
    assert not unclear(name, "orchestration/loop.py")


def test_names_say_what_they_name() -> None:
    """No thing has a word for its name that may stand for anything, no batch a person's number."""
    found = [
        f"{file}:{line} {name}"
        for file, module in modules().items()
        for name, line in names_in(module)
        if unclear(name, file)
    ]
    assert found == []
