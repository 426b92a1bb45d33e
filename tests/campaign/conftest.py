"""The judgement of a campaign is shown in the bench's table: its folder is on the path."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "bench"))
