"""The soak is made of what other tests are made of: their folders are on its path."""

import sys
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(_TESTS / room) for room in ("lab", "simulation", "campaign", "properties")]
