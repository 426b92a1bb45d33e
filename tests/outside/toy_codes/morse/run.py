"""One label, where the jobs run."""

from ase import Atoms
from ase.calculators.morse import MorsePotential

from mlip_autopipec.contract.results.label import OracleNotes
from mlip_autopipec.work.job import AnyJob
from mlip_autopipec.work.structures import Numbers
from toy_codes.morse.settings import MorseOracle


def label(job: AnyJob, oracle: MorseOracle, atoms: Atoms) -> tuple[Numbers, OracleNotes]:
    """Energy, forces and stress, and what gives them their meaning."""
    job.progress(0.5, "a Morse potential")
    return numbers(atoms, oracle), OracleNotes(
        settings=f"morse {oracle.depth_ev:g} {oracle.distance_angstrom:g}"
    )


def numbers(atoms: Atoms, oracle: MorseOracle) -> Numbers:
    """The same without a job."""
    atoms = atoms.copy()
    atoms.calc = MorsePotential(
        epsilon=oracle.depth_ev,
        r0=oracle.distance_angstrom,
        rho0=oracle.stiffness,
        rcut1=1.3,
        rcut2=1.7,
    )
    return Numbers(float(atoms.get_potential_energy()), atoms.get_forces(), atoms.get_stress())
