"""Names: the same work has the same name in every run, and no two works share one."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.tasks import Input, Resources
from mlip_autopipec.contract.values import plain
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.ids import attempt_file, batch_name
from mlip_autopipec.data_models.task import Parameters, Task, TaskFile, make_task
from mlip_autopipec.work.codes.ase.settings import AseOracle
from mlip_autopipec.work.codes.espresso.settings import EspressoOracle, Pseudopotential

EMT = AseOracle(calculator="ase.calculators.emt.EMT", arguments={"asap_cutoff": True, "b": 1})
PARAMETERS = CalculateParameters(
    role=Role.TRAIN, origin="by hand", oracle=EMT, force_max_ev_per_angstrom=50.0
)
STRUCTURE = Input(name="structure", file=FileRef(path="a.extxyz", sha256="0" * 64))


def task(
    parameters: Parameters = PARAMETERS,
    *inputs: Input,
    cycle: int = 3,
    index: int = 7,
    resources: Resources | None = None,
) -> Task:
    """A calculation of cycle 3."""
    return make_task(cycle, Phase.CALCULATION, index, parameters, inputs or (STRUCTURE,), resources)


def test_a_task_s_name_never_changes() -> None:
    """Names are part of the journal's format: a golden value."""
    assert task().id == "c003.calculation.0007-a4adab"
    assert task().workdir == "cycles/003/calculation/0007-a4adab"


def test_a_task_s_name_does_not_depend_on_the_process() -> None:
    """Another process, with another hash seed, gives the same name."""
    code = (
        "from mlip_autopipec.data_models.base import *; from mlip_autopipec.data_models.task"
        " import *;from mlip_autopipec.contract.label import *;from"
        " mlip_autopipec.work.codes.ase.settings import AseOracle;from"
        " mlip_autopipec.contract.words import Role;oracle ="
        " AseOracle(calculator='ase.calculators.emt.EMT', arguments={'b': 1, 'asap_cutoff':"
        " True});from mlip_autopipec.contract.files import FileRef;parameters ="
        " CalculateParameters(role=Role.TRAIN, origin='by hand',"
        " oracle=oracle, force_max_ev_per_angstrom=50.0);file = FileRef(path='a.extxyz',"
        " sha256='0' * 64);print(make_task(3, Phase.CALCULATION, 7, parameters,"
        " (Input(name='structure', file=file),)).id)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "4711"},
    )
    assert done.stdout.strip() == task().id


@pytest.mark.parametrize(
    "other",
    [
        task(replace(PARAMETERS, origin="elsewhere")),
        task(replace(PARAMETERS, role=Role.TEST)),
        task(PARAMETERS, replace(STRUCTURE, name="label")),
        task(PARAMETERS, Input(name="structure", file=FileRef(path="a.extxyz", sha256="1" * 64))),
        task(PARAMETERS, STRUCTURE, STRUCTURE),
        task(cycle=4),
        task(index=8),
    ],
    ids=["origin", "role", "input name", "content", "inputs", "cycle", "index"],
)
def test_other_work_has_another_name(other: Task) -> None:
    """Parameters, inputs and place all count."""
    assert other.id != task().id
    assert other.workdir != task().workdir


def test_resources_do_not_count() -> None:
    """A task that is given more memory is still the same task."""
    assert task(resources=Resources(memory_mib=9000)).id == task().id


def test_a_task_file_is_the_task_and_whose_it_is() -> None:
    """What the work half reads is read back as it was written."""
    written = TaskFile(campaign="copper-3f9a1c", **dict(task()))
    assert TaskFile.model_validate_json(written.model_dump_json()) == written


def test_batch_names_tell_their_place_and_sort_by_it() -> None:
    """Campaign, cycle, phase, number: also what squeue shows."""
    names = [batch_name("copper-3f9a1c", 3, Phase.CALCULATION, number) for number in (0, 2, 10)]
    assert names[0] == "copper-3f9a1c.c003.calculation.b00"
    assert names == sorted(names)


def test_every_attempt_has_its_own_file() -> None:
    """Array index by array index."""
    assert (
        attempt_file("copper-3f9a1c.c003.calculation.b00", 12)
        == "copper-3f9a1c.c003.calculation.b00.12.json"
    )


def test_the_rule_for_k_meshes_of_before_leaves_names_and_task_files_as_they_were() -> None:
    """A label by pw.x that was asked for before there were families.

    The other rule gives the task another name.
    """
    settings: dict[str, Any] = {
        "pseudo_folder": "/upf",
        "k_spacing_inverse_angstrom": 0.2,
        "pseudopotentials": {"Al": Pseudopotential(file="Al.UPF")},
        "ecutwfc_ry": 20.0,
        "ecutrho_ry": 80.0,
    }
    by_cell, by_family = EspressoOracle(**settings), EspressoOracle(**settings, k_mesh="family")
    before = task(replace(PARAMETERS, oracle=by_cell))
    assert "k_mesh" not in plain(by_cell)
    assert "k_mesh" not in TaskFile(campaign="a", **dict(before)).model_dump_json()
    assert plain(by_family)["k_mesh"] == "family"
    assert before.id != task(replace(PARAMETERS, oracle=by_family)).id
    assert before.id == "c003.calculation.0007-2e1828"
