"""Names of the product: no two classes share one, so that a word means one thing to a reader."""

import ast
from collections import defaultdict
from pathlib import Path

import mlip_autopipec

ROOT = Path(mlip_autopipec.__file__).parent


def test_no_class_name_stands_twice() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert len(places) > 200
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
