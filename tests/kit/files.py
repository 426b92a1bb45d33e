"""Where the files lie that tests begin with."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
TOP = TESTS.parent
#: Site files that are shipped.
DEMO = TOP / "config" / "demo.yaml"
CAMPAIGNS = TOP / "config" / "campaigns"
LAB_YAML = TOP / "config" / "lab.yaml"
#: The demo in small: seconds, with real codes.
SMALL = TESTS / "campaign" / "small.yaml"
#: What it says of the gate, whose property cells tests of the gate want.
NO_PROPERTIES = "  gate: {properties: false}\n"
#: Site file, and physics that takes milliseconds.
SOAK = TESTS / "soak"
#: Recorded outputs of real programs, and golden journals.
DATA = TESTS / "data"


def newest_run(folder: Path) -> Path:
    """Where the last life of a task has written; the task's folder itself where none has begun."""
    runs = (path for path in folder.glob("run-*") if path.is_dir())
    return max(runs, key=lambda run: int(run.name.removeprefix("run-")), default=folder)
