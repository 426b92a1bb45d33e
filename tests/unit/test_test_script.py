"""scripts/test: what it runs, and that it fetches gigabytes for nobody who has not said so."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "test"
SAYS_NO_CODES = "2.7 GB; --codes makes it"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The script beside stand-ins for what it calls; each says in `calls` that it ran, and how."""
    programs = {
        "scripts/venv": "",
        "scripts/codes": '[ "${1:-}" != --ready ] || [ -e .venv-pacemaker ]\n',
        ".venv/bin/python": "",
        "bin/id": "echo 1000\n",  # nobody who could install packages
    }
    for name, body in programs.items():
        program = tmp_path / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/calls\n{body}')
        program.chmod(0o755)
    shutil.copy(SCRIPT, tmp_path / "scripts" / "test")
    return tmp_path


def run(checkout: Path, *arguments: str, ci: str = "") -> tuple[list[str], str]:
    """The calls, pytest's the last; and what was said to the person, who has no terminal."""
    surroundings = {"PATH": f"{checkout}/bin:{os.environ['PATH']}", "CI": ci}
    done = subprocess.run(
        [checkout / "scripts" / "test", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env=surroundings,
    )
    calls = [line.strip() for line in (checkout / "calls").read_text().splitlines()]
    return [call for call in calls if not call.startswith("bin/id")], done.stderr


def test_without_a_terminal_the_large_python_is_not_made(checkout: Path) -> None:
    """Said with its size and the option that makes it; the other tests run all the same."""
    calls, said = run(checkout)
    assert "scripts/codes" not in calls
    assert SAYS_NO_CODES in said
    assert calls[-1] == ".venv/bin/python -m pytest -n 3"


@pytest.mark.parametrize(
    ("arguments", "ci"), [(["--codes"], ""), (["--no-skips"], ""), ([], "true")]
)
def test_who_wants_all_tests_gets_it(checkout: Path, arguments: list[str], ci: str) -> None:
    """By the option, by CI=true, and where no test may be skipped."""
    calls, said = run(checkout, *arguments, ci=ci)
    assert "scripts/codes" in calls
    assert SAYS_NO_CODES not in said
    assert calls[-1] == " ".join(
        [".venv/bin/python -m pytest -n 3", *(word for word in arguments if word != "--codes")]
    )


def test_no_codes_is_obeyed_in_ci_too(checkout: Path) -> None:
    """The option wins."""
    calls, _ = run(checkout, "--no-codes", ci="true")
    assert "scripts/codes" not in calls


def test_a_python_that_is_there_is_used_without_a_word(checkout: Path) -> None:
    """Nothing is made, nothing said."""
    (checkout / ".venv-pacemaker").mkdir()
    calls, said = run(checkout)
    assert ("scripts/codes" in calls, said) == (False, "")


def test_quick_needs_nothing_but_the_venv(checkout: Path) -> None:
    """Even in CI; every marker of what needs more, or is slow, is left out."""
    calls, said = run(checkout, "quick", "-x", ci="true")
    assert [call.split()[0] for call in calls] == ["scripts/venv", ".venv/bin/python"]
    assert said == ""
    assert calls[-1].endswith(
        "-m not (slow or codes or pacemaker or native or espresso or lab or campaign) -x"
    )


@pytest.mark.parametrize(
    "arguments", [["tests"], ["tests/a.py::test_it"], ["-s"], ["--pdb"], ["-n0"]]
)
def test_a_choice_of_files_or_a_debugger_gets_one_process(
    checkout: Path, arguments: list[str]
) -> None:
    """Two processes are for the whole."""
    (checkout / "tests").mkdir()
    (checkout / "tests" / "a.py").touch()
    calls, _ = run(checkout, *arguments)
    assert calls[-1] == " ".join([".venv/bin/python -m pytest", *arguments])


def test_coverage_is_a_number_in_the_last_line(checkout: Path) -> None:
    """Of all processes together; a failure ends it before."""
    calls, _ = run(checkout, "quick", "--coverage", "-x")
    verbs = [call.split()[3] for call in calls if " -m coverage " in call]
    assert verbs == ["erase", "run", "combine", "report"]
    (measured,) = [call for call in calls if " coverage run " in call]
    assert measured.startswith(
        ".venv/bin/python -m coverage run -m pytest tests/unit tests/properties"
    )
    assert measured.endswith(" -x")


def test_what_is_compiled_is_kept(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the surroundings say: compiling again costs half of collecting the quick tests."""
    python = checkout / ".venv/bin/python"
    python.write_text("#!/bin/sh\nenv\n")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    done = subprocess.run(
        [checkout / "scripts/test", "quick"], capture_output=True, text=True, timeout=30, check=True
    )
    assert "OMP_NUM_THREADS=1" in done.stdout
    assert "PYTHONDONTWRITEBYTECODE" not in done.stdout
