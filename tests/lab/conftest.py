"""Real tasks on the lab are those of the work half's own tests: their folder is on the path."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "unit" / "payload"))
