"""Parity data: prediction beside label for every structure of a fit, as Training writes them to `parity.json`."""

from pathlib import Path

from pydantic import ValidationError

from mlip_autopipec.data_models.base import Model

Pairs = tuple[tuple[float, float], ...]  # label, prediction


class ParitySet(Model):
    """One set of labels; the forces, by component, may be thinned."""

    energy_ev_per_atom: Pairs
    force_ev_per_angstrom: Pairs


class Parity(Model):
    """The content of one `parity.json`."""

    train: ParitySet
    test: ParitySet


def read_parity(path: Path) -> Parity | str:
    """The file's content, or in words why there is none: a report is written with what is there."""
    try:
        return Parity.model_validate_json(path.read_bytes())
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    except ValidationError as error:
        return f"{path} is not as it should be: {error.errors(include_input=False)[0]['msg']}"
