"""The simulator is on the path of those that run it."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "simulation"))
