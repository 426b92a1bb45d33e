"""Parity data: prediction beside label for every structure of a fit.

Training writes them to `parity.json`.
"""

from pathlib import Path

from pydantic import TypeAdapter

from mlip_autopipec.data_models.base import Model
from mlip_autopipec.report.leftovers import content_or_why

Pairs = tuple[tuple[float, float], ...]  # label, prediction


class ParitySet(Model):
    """One set of labels; the forces, by component, may be thinned."""

    energy_ev_per_atom: Pairs
    force_ev_per_angstrom: Pairs
    stress_gpa: Pairs = ()


class Parity(Model):
    """The content of one `parity.json`."""

    train: ParitySet
    test: ParitySet


_PARITY = TypeAdapter(Parity)


def read_parity(path: Path) -> Parity | str:
    """The file's content, or in words why there is none."""
    return content_or_why(_PARITY, path)
