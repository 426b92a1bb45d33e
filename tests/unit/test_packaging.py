"""What hands the program on says the same as pyproject.toml."""

import re
import tomllib
from pathlib import Path

from ruamel.yaml import YAML

TOP = Path(__file__).parents[2]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
RECIPE = YAML(typ="safe").load((TOP / "packaging" / "conda" / "meta.yaml").read_text())


def test_the_conda_recipe_asks_for_the_same() -> None:
    """Version, Python, packages and their bounds, programs."""
    asked = {line.replace(" ", "") for line in RECIPE["requirements"]["run"]}
    assert asked == {*PROJECT["dependencies"], f"python{PROJECT['requires-python']}"}
    assert RECIPE["package"] == {"name": PROJECT["name"], "version": PROJECT["version"]}
    programs = dict(entry.split(" = ") for entry in RECIPE["build"]["entry_points"])
    assert programs == PROJECT["scripts"]


def test_the_image_is_made_of_what_is_there() -> None:
    """Every file that is copied, and a Python that will do."""
    lines = (TOP / "packaging" / "Dockerfile").read_text().splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert copied
    for name in copied:
        assert (TOP / name).exists(), name
    (version,) = re.findall(r"^FROM python:3\.(\d+)-slim$", "\n".join(lines), flags=re.MULTILINE)
    assert f"3.{version}" in {"3.11", "3.12", "3.13"}
    assert any('ENTRYPOINT ["autopipecctl"]' in line for line in lines)


def test_workflows_are_yaml_and_run_scripts_that_are_there() -> None:
    for path in [*(TOP / ".github" / "workflows").glob("*.yml"), TOP / ".pre-commit-config.yaml"]:
        text = path.read_text()
        assert YAML(typ="safe").load(text)
        for script in re.findall(r"run: (scripts/\w+)", text):
            assert (TOP / script).is_file(), script
