"""One mistake at a time in a file otherwise in order: one line tells it, nothing else is told."""

from pathlib import Path

import pytest
from kit.site_files import mistakes, spoiled

from mlip_autopipec.contract.mistakes import nearest

# Old text, new text, and the line that tells it; a line that ends in `…` goes on.
UNKNOWN_KEYS = [
    (
        "name: alloy",
        "nmae: alloy",
        "site.yaml:2  campaign.nmae  'alloy' → no such key; did you mean 'name'?",
    ),
    (
        "  elements: [Cu, Au]\n  seed",
        "  elments: [Cu, Au]\n  seed",
        "site.yaml:3  campaign.elments  ['Cu', 'Au'] → no such key; did you mean 'elements'?",
    ),
    (
        "transport: {kind",
        "transport: {knid",
        "site.yaml:8  site.transport.knid  'local' → no such key; did you mean 'kind'?",
    ),
    (
        "poll_interval:",
        "poll-interval:",
        "site.yaml:10  site.poll-interval  '30 s' → no such key; did you mean 'poll_interval'?",
    ),
    (
        "walltime:",
        "wall_time:",
        (
            "site.yaml:15  site.resources.training.wall_time  '0-02:00:00' → no such key; did you"
            " mean 'walltime'?"
        ),
    ),
    (
        "    - structure: l1_2",
        "    - struct: l1_2",
        (
            "site.yaml:23  generation.prototypes[1].struct  'l1_2' → no such key; did you mean"
            " 'structure'?"
        ),
    ),
    (
        "steps: 1000",
        "Steps: 1000",
        "site.yaml:37  exploration.walkers[0].Steps  1000 → no such key; did you mean 'steps'?",
    ),
    (
        "cutoff_angstrom:",
        "cutoff:",
        "site.yaml:45  training.cutoff  6.0 → no such key; did you mean 'cutoff_angstrom'?",
    ),
    (
        "  candidates_max: 6",
        "  labels_max: 6",
        (
            "site.yaml:39  selection.labels_max  6 → no such key; did you mean"
            " 'convergence.labels_max'?"
        ),
    ),
    (
        "seed: 7",
        "seed: 7\n  xyz: true",
        (
            "site.yaml:5  campaign.xyz  true → no such key here; there are name, elements, seed,"
            " folder, log_max…"
        ),
    ),
]
UNKNOWN_SECTIONS = [
    (
        "selection:\n",
        "selecton:\n",
        "site.yaml:38  selecton  {'candidates_max': 6} → no such key; did you mean 'selection'?",
    ),
    (
        "    training:",
        "    trainig:",
        (
            "site.yaml:12  site.resources.trainig  {'cores': 2, 'memory': '4 GiB', 'walltime':"
            " '0-02:00:00'} → no such key; did you mean 'training'?"
        ),
    ),
    (
        "    training:",
        "    md:",
        (
            "site.yaml:12  site.resources.md  {'cores': 2, 'memory': '4 GiB', 'walltime':"
            " '0-02:00:00'} → no such key here; there are generation, exploration, selection,"
            " calculation, training"
        ),
    ),
    (
        "distance_min_angstrom: 1.5",
        "distance_min: 1.5",
        "site.yaml:16  distance_min  1.5 → no such key; did you mean 'distance_min_angstrom'?",
    ),
]
TYPES = [
    ("seed: 7", "seed: '7'", "site.yaml:4  campaign.seed  '7' → expected a whole number"),
    ("seed: 7", "seed: 7.5", "site.yaml:4  campaign.seed  7.5 → expected a whole number"),
    ("seed: 7", "seed: true", "site.yaml:4  campaign.seed  true → expected a whole number"),
    ("name: alloy", "name: 5", "site.yaml:2  campaign.name  5 → expected text"),
    (
        "elements: [Cu, Au]\n  seed",
        "elements: Cu\n  seed",
        "site.yaml:3  campaign.elements  'Cu' → expected a list",
    ),
    (
        "structures: 10",
        "structures: ten",
        "site.yaml:27  generation.structures  'ten' → expected a whole number",
    ),
    (
        "gamma_halt: 10",
        "gamma_halt: high",
        "site.yaml:31  exploration.gamma_halt  'high' → expected a number",
    ),
    ("  candidates_max: 6\n", "", "site.yaml:38  selection  nothing → expected a section of keys"),
    (
        "    - structure: fcc\n",
        "    - 3\n    - structure: fcc\n",
        "site.yaml:19  generation.prototypes[0]  3 → expected a section of keys",
    ),
    (
        "    calculator: ase",
        "    arguments: [1]\n    calculator: ase",
        "site.yaml:43  calculation.oracle.arguments  [1] → expected a section of keys",
    ),
    (
        "repeat: [3, 3, 3]",
        "repeat: [3]",
        "site.yaml:34  exploration.walkers[0].prototype.repeat  [3] → expected a list of 3",
    ),
    (
        "repeat: [3, 3, 3]",
        "repeat: [3, 3, 3, 3]",
        (
            "site.yaml:34  exploration.walkers[0].prototype.repeat  [3, 3, 3, 3] → expected no more"
            " than 3 in the list"
        ),
    ),
    (
        "temperatures_kelvin: [300, 900]",
        "temperatures_kelvin: []",
        (
            "site.yaml:36  exploration.walkers[0].temperatures_kelvin  [] → expected 1 or more in"
            " the list"
        ),
    ),
]
LITERALS = [
    (
        "- structure: fcc",
        "- structure: FCC",
        (
            "site.yaml:19  generation.prototypes[0].structure  'FCC' → expected 'fcc', 'bcc',"
            " 'hcp', 'sc', 'diamond', 'rocksalt', 'cesiumchloride', 'zincblende', 'l1_0' or"
            " 'l1_2'; did you mean 'fcc'?"
        ),
    ),
    (
        "ensemble: nvt",
        "ensemble: nvtt",
        (
            "site.yaml:35  exploration.walkers[0].ensemble  'nvtt' → expected 'nvt' or 'npt'; did"
            " you mean 'nvt'?"
        ),
    ),
    (
        "scheduler: {kind: local",
        "scheduler: {kind: loca",
        (
            "site.yaml:9  site.scheduler.kind  'loca' → expected 'local', 'slurm'; did you mean"
            " 'local'?"
        ),
    ),
    (
        "name: alloy",
        "name: Cu-Au",
        "site.yaml:2  campaign.name  'Cu-Au' → expected text that matches ^[a-z][a-z0-9-]{0,30}$",
    ),
]
NUMBERS = [
    ("seed: 7", "seed: -1", "site.yaml:4  campaign.seed  -1 → expected 0 or more"),
    (
        "cores: 2\n",
        "cores: 0\n",
        "site.yaml:13  site.resources.training.cores  0 → expected 1 or more",
    ),
    (
        "distance_min_angstrom: 1.5",
        "distance_min_angstrom: 0",
        "site.yaml:16  distance_min_angstrom  0 → expected more than 0",
    ),
    (
        "test_structures: 4",
        "strain_max: 0.5",
        "site.yaml:28  generation.strain_max  0.5 → expected less than 0.5",
    ),
    (
        "steps: 1000",
        "steps: 1000\n      timestep_fs: 20",
        "site.yaml:38  exploration.walkers[0].timestep_fs  20 → expected 10 or less",
    ),
    (
        "[300, 900]",
        "[300, -9]",
        "site.yaml:36  exploration.walkers[0].temperatures_kelvin[1]  -9 → expected more than 0",
    ),
    (
        "test_structures: 4",
        "rattle_angstrom: [-0.1]",
        "site.yaml:28  generation.rattle_angstrom[0]  -0.1 → expected 0 or more",
    ),
]
UNITS = [
    (
        "poll_interval: 30 s",
        "poll_interval: 30",
        (
            "site.yaml:10  site.poll_interval  30 → expected a duration with its unit, such as '90"
            " s', '20 min', '2 h', '1 d' or '0-02:00:00'"
        ),
    ),
    (
        "poll_interval: 30 s",
        "poll_interval: 30 m",
        (
            "site.yaml:10  site.poll_interval  '30 m' → expected a duration with its unit, such as"
            " '90 s', '20 min', '2 h', '1 d' or '0-02:00:00'"
        ),
    ),
    (
        "poll_interval: 30 s",
        "poll_interval: 0 s",
        "site.yaml:10  site.poll_interval  '0 s' → expected more than 0",
    ),
    (
        "walltime: 0-02:00:00",
        "walltime: 0-02:70:00",
        (
            "site.yaml:15  site.resources.training.walltime  '0-02:70:00' → expected a duration"
            " with its unit, such as '90 s', '20 min', '2 h', '1 d' or '0-02:00:00'"
        ),
    ),
    (
        "walltime: 0-02:00:00",
        "walltime: 400 d",
        (
            "site.yaml:15  site.resources.training.walltime  '400 d' → expected a duration of no"
            " more than 366 d"
        ),
    ),
    (
        "memory: 4 GiB",
        "memory: 4096",
        (
            "site.yaml:14  site.resources.training.memory  4096 → expected an amount of memory"
            " with its unit, such as '512 MiB' or '2 GiB'"
        ),
    ),
    (
        "memory: 4 GiB",
        "memory: 4 GB",
        (
            "site.yaml:14  site.resources.training.memory  '4 GB' → expected an amount of memory"
            " with its unit, such as '512 MiB' or '2 GiB'"
        ),
    ),
]
MISSING = [
    (
        "  folder: run\n",
        "",
        (
            "site.yaml:1  campaign.folder  missing → required: the daemon's own files: journal,"
            " state, log, report; relative to this file"
        ),
    ),
    (
        "      steps: 1000\n",
        "",
        "site.yaml:34  exploration.walkers[0].steps  missing → required: MD steps of each walker",
    ),
    (
        "    calculator: ase.calculators.emt.EMT\n",
        "",
        "site.yaml:41  calculation.oracle.calculator  missing → required: module.path.ClassName",
    ),
    (
        "distance_min_angstrom: 1.5\n",
        "",
        (
            "site.yaml:1  distance_min_angstrom  missing → required: shorter distances are"
            " unphysical, in every phase"
        ),
    ),
    (
        "calculation:\n  oracle:\n    kind: ase\n    calculator: ase.calculators.emt.EMT\n",
        "",
        "site.yaml:1  calculation  missing → required: the oracle.",
    ),
]
RULES = [
    (
        "functions_per_element: 100",
        "functions_per_element: 100\n  reference_energies_ev: isolated",
        (
            "site.yaml:47  training.reference_energies_ev  'isolated' → expected 'fitted' or"
            " 'isolated_atoms' or a section of keys; did you mean 'isolated_atoms'?"
        ),
    ),
    (
        "functions_per_element: 100",
        "functions_per_element: 100\n  reference_energies_ev: {Cu: -3.5, Au: much}",
        "site.yaml:47  training.reference_energies_ev.Au  'much' → expected a number",
    ),
    (
        "functions_per_element: 100",
        "functions_per_element: 100\n  reference_energies_ev: {Cu: -3.5}",
        (
            "site.yaml:47  training.reference_energies_ev  no Au → expected an energy in eV for"
            " each of campaign.elements"
        ),
    ),
    (
        "functions_per_element: 100",
        "functions_per_element: 100\n  reference_energies_ev: {Cu: -3.5, Au: -3, Auu: 1}",
        (
            "site.yaml:47  training.reference_energies_ev.Auu  1.0 → expected one of"
            " campaign.elements (Cu, Au); did you mean 'Au'?"
        ),
    ),
    (
        "functions_per_element: 100",
        "functions_per_element: 100\n  isolated_atom_box_angstrom: 5",
        "site.yaml:47  training.isolated_atom_box_angstrom  5 → expected 6 or more",
    ),
    (
        "  elements: [Cu, Au]\n  seed",
        "  elements: [Cu, Au, Xx]\n  seed",
        "site.yaml:3  campaign.elements[2]  'Xx' → expected a chemical symbol; did you mean 'Xe'?",
    ),
    (
        "  elements: [Cu, Au]\n  seed",
        "  elements: [Copper, Au]\n  seed",
        "site.yaml:3  campaign.elements[0]  'Copper' → expected a chemical symbol",
    ),
    (
        "  elements: [Cu, Au]\n  seed",
        "  elements: [Cu, Au, Cu]\n  seed",
        "site.yaml:3  campaign.elements[2]  'Cu' → expected each element once",
    ),
    (
        "  candidates_max: 6\n",
        "  gamma_max: 10\n",
        (
            "site.yaml:39  selection.gamma_max  10.0 → expected more than exploration.gamma_halt"
            " (10): …"
        ),
    ),
    (
        "gamma_halt: 10\n  stride: 5\n",
        "gamma_halt: 10\n  force_error_target_mev_per_angstrom: 0\n",
        "site.yaml:32  exploration.force_error_target_mev_per_angstrom  0 → expected more than 0",
    ),
    (
        "  candidates_max: 6\n",
        "  embedding: {atoms_max: 50, whole_atoms_max: 60}\n",
        (
            "site.yaml:39  selection.embedding.atoms_max  50 → expected at least 115: a cell that"
            " keeps …"
        ),
    ),
    (
        "  candidates_max: 6\n",
        "  embedding: {charges: {Cu: 1, Ag: -1}}\n",
        (
            "site.yaml:39  selection.embedding.charges.Ag  'Ag' → expected one of campaign.elements"
            " (Cu, Au)"
        ),
    ),
    (
        "  elements: [Cu, Au]\n  seed",
        "  elements: [Cu, Au, No]\n  seed",
        (
            "site.yaml:3  campaign.elements[2]  'No' → expected in at least one of"
            " generation.prototypes: the first potential must know every element"
        ),
    ),
    (
        "{structure: fcc, elements: [Au]",
        "{structure: fcc, elements: [Ag]",
        (
            "site.yaml:34  exploration.walkers[0].prototype.elements[0]  'Ag' → expected one of"
            " campaign.elements (Cu, Au)"
        ),
    ),
    (
        "{structure: fcc, elements: [Au]",
        "{structure: fcc, elements: [AU]",
        (
            "site.yaml:34  exploration.walkers[0].prototype.elements[0]  'AU' → expected one of"
            " campaign.elements (Cu, Au); did you mean 'Au'?"
        ),
    ),
    (
        "      elements: [Cu, Au]\n",
        "      elements: [Au]\n",
        (
            "site.yaml:24  generation.prototypes[1].elements  ['Au'] → expected 2 different"
            " elements for l1_2"
        ),
    ),
    (
        "      elements: [Cu, Au]\n",
        "      elements: [Au, Au]\n",
        (
            "site.yaml:24  generation.prototypes[1].elements  ['Au', 'Au'] → expected 2 different"
            " elements for l1_2"
        ),
    ),
    (
        "{structure: fcc, elements: [Au]",
        "{structure: fcc, elements: [Au, Cu]",
        (
            "site.yaml:34  exploration.walkers[0].prototype.elements  ['Au', 'Cu'] → expected one"
            " element for fcc"
        ),
    ),
    (
        "repeat: [3, 3, 3]",
        "c_over_a: 1.6",
        (
            "site.yaml:34  exploration.walkers[0].prototype.c_over_a  1.6 → expected only for hcp"
            " and l1_0; fcc has no c axis of its own"
        ),
    ),
    (
        "repeat: [3, 3, 3]",
        "repeat: [3, 3, 0]",
        "site.yaml:34  exploration.walkers[0].prototype.repeat[2]  0 → expected 1 or more",
    ),
    (
        "gamma_halt: 10",
        "gamma_halt: 2",
        (
            "site.yaml:31  exploration.gamma_halt  2.0 → expected more than"
            " exploration.gamma_select (2)"
        ),
    ),
    (
        "gamma_select: 2\n  gamma_halt: 10\n",
        "gamma_select: 20\n",
        (
            "site.yaml:29  exploration.gamma_halt  10.0 (the default) → expected more than"
            " exploration.gamma_select (20)"
        ),
    ),
    (
        "stride: 5",
        "stride: 2000",
        (
            "site.yaml:37  exploration.walkers[0].steps  1000 → expected at least"
            " exploration.stride (2000): γ is looked at every so many steps"
        ),
    ),
    (
        "steps: 1000",
        "steps: 1000\n      pressures_gpa: [0, 5]",
        (
            "site.yaml:38  exploration.walkers[0].pressures_gpa  [0.0, 5.0] → expected only with"
            " ensemble npt; nvt keeps the volume"
        ),
    ),
    (
        (
            "- prototype: {structure: fcc, elements: [Au], lattice_constant_angstrom: 4.08, repeat:"
            " [3, 3, 3]}\n      ens"
        ),
        "- ens",
        (
            "site.yaml:34  exploration.walkers[0]  neither prototype nor file → expected one of"
            " them: where the walkers start from"
        ),
    ),
    (
        "steps: 1000",
        "steps: 1000\n      repeat: [2, 2, 2]",
        (
            "site.yaml:38  exploration.walkers[0].repeat  [2, 2, 2] → expected only with file; a"
            " prototype has a repeat of its own"
        ),
    ),
    (
        "steps: 1000",
        "steps: 1000\n      stages: [{steps: 9000}, {steps: 3}]",
        (
            "site.yaml:38  exploration.walkers[0].stages[1].steps  3 → expected at least"
            " exploration.stride (5): γ is looked at every so many steps"
        ),
    ),
    (
        "steps: 1000",
        "steps: 1000\n      stages: [{ensemble: npt, deform: {axis: x, rate_per_ps: 0.1}}]",
        (
            "site.yaml:38  exploration.walkers[0].stages[0].deform  'npt' → expected only with"
            " ensemble nvt; npt changes the box itself"
        ),
    ),
    (
        "stride: 5",
        "stride: 5\n  distances_min_angstrom: {Cu-Ag: 1.8}",
        (
            "site.yaml:33  exploration.distances_min_angstrom.Cu-Ag  'Cu-Ag' → expected two of"
            " campaign.elements, such as 'Au-Au'; did you mean 'Cu-Au'?"
        ),
    ),
    (
        "[300, 900]",
        "[300, 900, 300]",
        (
            "site.yaml:36  exploration.walkers[0].temperatures_kelvin[2]  300.0 → expected each"
            " value once; `replicas` makes more walkers alike"
        ),
    ),
    (
        "ase.calculators.emt.EMT",
        "EMT",
        (
            "site.yaml:43  calculation.oracle.calculator  'EMT' → expected an import path such as "
            "'ase.calculators.emt.EMT'"
        ),
    ),
    (
        "ase.calculators.emt.EMT",
        "ase.calculators.emt/EMT",
        (
            "site.yaml:43  calculation.oracle.calculator  'ase.calculators.emt/EMT' → expected an"
            " import path such as 'ase.calculators.emt.EMT'"
        ),
    ),
    (
        "distance_min_angstrom: 1.5",
        "distance_min_angstrom: 2.6",
        (
            "site.yaml:16  distance_min_angstrom  2.6 → expected less than 2.553, the"
            " nearest-neighbour distance of generation.prototypes[0] (Cu fcc, lattice constant"
            " 3.61)"
        ),
    ),
    (
        "cutoff_angstrom: 6.0",
        "cutoff_angstrom: 1.5",
        (
            "site.yaml:45  training.cutoff_angstrom  1.5 → expected more than distance_min_angstrom"
            " (1.5)"
        ),
    ),
    (
        "cutoff_angstrom: 6.0",
        "cutoff_angstrom: 2.6",
        (
            "site.yaml:45  training.cutoff_angstrom  2.6 → expected more than 2.885, the"
            " nearest-neighbour distance of exploration.walkers[0].prototype (Au fcc, lattice"
            " constant 4.08)"
        ),
    ),
    (
        "kind: local, cores: 2}",
        "kind: local, cores: 1}",
        (
            "site.yaml:13  site.resources.training.cores  2 → expected no more than"
            " site.scheduler.cores (1)"
        ),
    ),
    (
        "labels_max: 200",
        "labels_max: 14",
        (
            "site.yaml:50  convergence.labels_max  14 → expected more than 14:"
            " generation.structures and test_structures alone take as many labels"
        ),
    ),
    (
        "quiet_cycles: 2",
        "quiet_cycles: 13",
        (
            "site.yaml:48  convergence.quiet_cycles  13 → expected no more than"
            " convergence.cycles_max (12): it could never converge"
        ),
    ),
    (
        "functions_per_element: 100",
        "functions_per_element: 121",
        (
            "site.yaml:46  training.functions_per_element  121 → expected no more than 120:"
            " generation.structures (10) hold 120 Au atoms in all, and 121 functions need 121 of"
            " them"
        ),
    ),
    (
        "folder: run",
        "folder: site.yaml",
        "site.yaml:5  campaign.folder  'site.yaml' → expected a folder; …",
    ),
    (
        "folder: run",
        "folder: site.yaml/run",
        "site.yaml:5  campaign.folder  'site.yaml/run' → expected a folder; …",
    ),
    (
        "root: run/root",
        "root: $SCRATCH/run",
        (
            "site.yaml:7  site.root  '$SCRATCH/run' → expected a plain path; variables are not"
            " filled in"
        ),
    ),
    (
        "folder: run",
        "folder: ~nobody-of-this-name/run",
        (
            "site.yaml:5  campaign.folder  '~nobody-of-this-name/run' → expected a path; there is"
            " no such home folder"
        ),
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [*UNKNOWN_KEYS, *UNKNOWN_SECTIONS, *TYPES, *LITERALS, *NUMBERS, *UNITS, *MISSING, *RULES],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    """The line has the file's line, the path of the key and the value.

    It has what was expected and the nearest right name.
    """
    [line] = mistakes(tmp_path, spoiled((old, new)))
    if message.endswith("…"):
        assert line.startswith(message.removesuffix("…"))
    else:
        assert message == line


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    """Ten mistakes of all kinds, some in a misspelled section, are told together in file order."""
    text = spoiled(
        ("name: alloy", "nmae: alloy"),
        ("poll_interval: 30 s", "poll_interval: 30"),
        ("    training:\n", "    trainig:\n"),
        ("memory: 4 GiB", "memory: 4"),
        ("      elements: [Cu]\n", "      elements: [Ag]\n"),
        ("gamma_halt: 10", "gamma_halt: 1.5"),
        ("selection:\n", "selecton:\n"),
        ("candidates_max: 6", "candidates_max: six"),
        ("calculator: ase.calculators.emt.EMT", "calculator: EMT"),
        ("labels_max: 200", "labels_max: 12"),
    )
    expected = [
        "site.yaml:2  campaign.nmae  'alloy' → no such key; did you mean 'name'?",
        "site.yaml:10  site.poll_interval  30 → expected a duration",
        "site.yaml:12  site.resources.trainig  {'cores': 2, ",
        "site.yaml:14  site.resources.trainig.memory  4 → expected an amount of memory",
        (
            "site.yaml:20  generation.prototypes[0].elements[0]  'Ag' → expected one of"
            " campaign.elements (Cu, Au)"
        ),
        (
            "site.yaml:31  exploration.gamma_halt  1.5 → expected more than"
            " exploration.gamma_select (2)"
        ),
        (
            "site.yaml:38  selecton  {'candidates_max': 'six'} → no such key; did you mean"
            " 'selection'?"
        ),
        "site.yaml:39  selecton.candidates_max  'six' → expected a whole number",
        "site.yaml:43  calculation.oracle.calculator  'EMT' → expected an import path",
        "site.yaml:50  convergence.labels_max  12 → expected more than 14",
    ]
    lines = mistakes(tmp_path, text)
    assert len(expected) == len(lines), lines
    for start, line in zip(expected, lines, strict=True):
        assert line.startswith(start)


def test_a_key_that_is_given_rightly_too_is_not_overruled_by_its_misspelled_twin(
    tmp_path: Path,
) -> None:
    """`stpes: -1` beside `steps: 1000` is an unknown key, no more: the value of `steps` stands."""
    [line] = mistakes(tmp_path, spoiled(("steps: 1000", "steps: 1000\n      stpes: -1")))
    assert (
        line
        == "site.yaml:38  exploration.walkers[0].stpes  -1 → no such key; did you mean 'steps'?"
    )


@pytest.mark.parametrize("value", [".nan", "!mine 7", "!mine {a: 1}"])
def test_a_value_that_is_none_is_told_once(tmp_path: Path, value: str) -> None:
    """As what it is, and not again as a number that is not there."""
    [line] = mistakes(tmp_path, spoiled(("gamma_halt: 10", f"gamma_halt: {value}")))
    assert line.startswith("site.yaml:31  exploration.gamma_halt  ")
    assert (
        "→ expected text, a finite number, true, false, a list or a section, without a tag" in line
    )


def test_a_key_that_is_given_twice_is_told_and_its_first_value_looked_at(tmp_path: Path) -> None:
    """Both lines are named."""
    assert mistakes(tmp_path, spoiled(("seed: 7", "seed: -7\n  seed: 8"))) == [
        "site.yaml:4  campaign.seed  -7 → expected 0 or more",
        "site.yaml:5  campaign.seed  8 → expected only once; line 4 has it too",
    ]


def test_the_value_under_a_misspelled_key_is_checked(tmp_path: Path) -> None:
    """A key read as another is held against its kind and its rules, and told by the name it has."""
    found = mistakes(
        tmp_path, spoiled(("stride: 5", "strde: 2000"), ("candidates_max: 6", "candidates: none"))
    )
    steps = "1000 → expected at least exploration.stride (2000): γ is looked at every so many steps"
    assert [line.partition("  ")[2] for line in found] == [
        "exploration.strde  2000 → no such key; did you mean 'stride'?",
        f"exploration.walkers[0].steps  {steps}",
        "selection.candidates  'none' → no such key; did you mean 'candidates_max'?",
        "selection.candidates  'none' → expected a whole number",
    ]


def test_a_wrong_campaign_element_is_not_blamed_on_the_prototypes(tmp_path: Path) -> None:
    """A typo in campaign.elements is told once, not once more for each prototype that is right."""
    [line] = mistakes(
        tmp_path, spoiled(("  elements: [Cu, Au]\n  seed", "  elements: [Cu, Aau]\n  seed"))
    )
    assert line == (
        "site.yaml:3  campaign.elements[1]  'Aau' → expected a chemical symbol; did you mean 'Au'?"
    )


def test_an_empty_mapping_lacks_every_required_section(tmp_path: Path) -> None:
    """Each is named with what it is for."""
    assert mistakes(tmp_path, "{}\n") == [
        "site.yaml:1  campaign  missing → required: The campaign itself.",
        "site.yaml:1  site  missing → required: One place that runs jobs.",
        (
            "site.yaml:1  distance_min_angstrom  missing → required: shorter distances are"
            " unphysical, in every phase"
        ),
        (
            "site.yaml:1  exploration  missing → required: where the potential is asked what it"
            " does not know."
        ),
        "site.yaml:1  calculation  missing → required: the oracle.",
        "site.yaml:1  training  missing → required: the fit and its gate.",
        (
            "site.yaml:1  generation  missing → required: the structures that a campaign begins"
            " with, or a `dataset` of labels"
        ),
    ]


def test_of_names_as_near_the_one_whose_letters_are_in_place_is_meant() -> None:
    """`stwps` shares as many letters with `swaps` as with `steps`."""
    assert nearest("stwps", ["swaps", "steps"]) == "steps"
    assert nearest("stwps", ["steps", "swaps"]) == "steps"
