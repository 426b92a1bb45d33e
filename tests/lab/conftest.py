"""Tasks on the lab are those of the work half's own tests, campaigns those of config/campaigns."""

import sys
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(_TESTS / room) for room in ("unit/work", "campaign", "bench")]
