"""Tasks of real physics for the lab: a walker that takes seconds, and a label by pw.x under MPI."""

import shutil
from pathlib import Path

from kit.espresso import aluminium, oracle_of
from kit.files import newest_run
from kit.jobs import Fitted, explore_parameters, ref
from kit.slurm_lab import Site
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.tasks import Input
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.task import Task, make_task
from mlip_autopipec.work.structures import write_frames


def walker(site: Site, fitted: Fitted, steps: int) -> Task:
    """A walker that no guard halts, with its potential in the site's root."""
    inputs = []
    for name, path in (("potential_yaml", fitted.yaml), ("potential_asi", fitted.asi)):
        target = site.root / "potentials" / path.name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
        inputs.append(Input(name=name, file=ref(site.root, target)))
    return make_task(
        1, Phase.EXPLORATION, 0, explore_parameters({"steps": steps}), inputs, site.resources
    )


def label(site: Site) -> Task:
    """Aluminium at Γ alone for pw.x: less than a second on one core."""
    path = site.root / "structure.extxyz"
    write_frames(path, [aluminium()])
    oracle = oracle_of(k_spacing_inverse_angstrom=2.0)
    parameters = CalculateParameters(
        role=Role.TRAIN, origin="a test", oracle=oracle, force_max_ev_per_angstrom=100.0
    )
    inputs = [Input(name="structure", file=ref(site.root, path))]
    return make_task(1, Phase.CALCULATION, 0, parameters, inputs, site.resources)


def steps_walked(folder: Path) -> list[int]:
    """The steps in the trace of a walker's last life so far; a torn last line is none of them."""
    path = newest_run(folder) / "gamma.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [
        int(line.partition(",")[0]) for line in lines if line[0].isdigit() and line.endswith("\n")
    ]
