"""A site file that is in order, for tests to spoil."""

import re
from pathlib import Path

import pytest

from mlip_autopipec.config.loader import load_config
from mlip_autopipec.errors import ConfigurationError

SITE = """\
campaign:
  name: alloy
  elements: [Cu, Au]
  seed: 7
  folder: run
site:
  root: run/root
  transport: {kind: local}
  scheduler: {kind: local, cores: 2}
  poll_interval: 30 s
  resources:
    training:
      cores: 2
      memory: 4 GiB
      walltime: 0-02:00:00
distance_min_angstrom: 1.5
generation:
  prototypes:
    - structure: fcc
      elements: [Cu]
      lattice_constant_angstrom: 3.61
      repeat: [2, 2, 2]
    - structure: l1_2
      elements: [Cu, Au]
      lattice_constant_angstrom: 3.75
      repeat: [2, 2, 2]
  structures: 10
  test_structures: 4
exploration:
  gamma_select: 2
  gamma_halt: 10
  stride: 5
  walkers:
    - prototype: {structure: fcc, elements: [Au], lattice_constant_angstrom: 4.08, repeat: [3, 3, 3]}
      ensemble: nvt
      temperatures_kelvin: [300, 900]
      steps: 1000
selection:
  candidates_max: 6
calculation:
  oracle:
    kind: ase
    calculator: ase.calculators.emt.EMT
training:
  cutoff_angstrom: 6.0
  functions_per_element: 100
convergence:
  quiet_cycles: 2
  cycles_max: 12
  labels_max: 200
"""  # noqa: E501 - text for another program


def spoiled(*changes: tuple[str, str]) -> str:
    """SITE with each old text, of which it has exactly one, replaced by the new."""
    text = SITE
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def write(folder: Path, text: str) -> Path:
    """The text as a site file."""
    path = folder / "site.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(folder: Path, text: str) -> list[str]:
    """The lines of the message that the text is refused with, without the heading.

    The heading must count them right.
    """
    with pytest.raises(ConfigurationError) as caught:
        load_config(write(folder, text))
    heading, *lines = str(caught.value).splitlines()
    found = re.fullmatch(r".*/site\.yaml has (\d+) mistakes?:", heading)
    assert found, heading
    assert int(found[1]) == len(lines)
    return lines
