"""The LAMMPS input of one walker: text only, the same for every way of running it.

Only the lines of the potential differ between engines; they end in a variable `gamma_of_atom`. γ is
looked at, written down, dumped and judged on one common stride, so the frame that halts a walker is
among the dumped ones; the last frame is written once more, whatever ended the run. `fix halt …
error soft` leaves the run in good order and has every later `run` skipped, so what follows the run
here are only writes.

Beside γ there are guards, for γ says nothing of a state that cannot be: distances, temperature,
pressure, volume, and numbers that are none (`reduce max` and `>` pass over NaN, `==` does not). A
frame at which a guard strikes is no candidate; what was collected before it is.

A walker is stopped by a file named `stop` in its folder, which a halt looks for on the same stride.
It goes on from the newest whole LAMMPS restart file there: positions, velocities, box, step and
thermostat as they were. Trace and dumps are appended to, and where their steps go back, what stands
later counts.

A walker that halted under an earlier potential starts from its last frame with γ below
gamma_select, with the velocities that it had there, scaled to the temperature, and under a Langevin
bath for its first steps: the new potential has other forces there, and what they set free is to be
gone before γ of the trajectory means anything.

Monte-Carlo swaps are LAMMPS's own `fix atom/swap`, for every engine: it asks the whole energy of
the trial structure, which `fix external` gives as a pair style does. Each attempt costs one
evaluation of all atoms.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

from ase.data import atomic_masses, atomic_numbers

from mlip_autopipec.contract.explore import ExploreParameters, Walker
from mlip_autopipec.work.codes.lammps.files import CHECKPOINTS, DUMPED, STOP_FILE, TRACE_TITLE

#: Where a driver of LAMMPS as a library has to step in, between set-up and run.
RUN_MARK = "# --- run ---"
_TRACE_VALUES = "$(step),${gamma_max},${temperature},${distance_min},$(pe),$(vol),${pressure_gpa}"
_COLUMNS = "id type x y z vx vy vz v_gamma_of_atom"
_GPA_IN_BAR = 1.0e4
_FS_IN_PS = 1.0e-3
#: Regular checkpoints per trajectory: what a lost node costs at most is one part of so many.
_CHECKPOINTS_EACH = 20
#: Audit dumps per trajectory to draw the audit frames from.
_AUDIT_DUMPS = 12
#: Dumps for each frame of a pool, which is thinned when the decorrelation is known; and atoms in
#: all of them at most.
_POOL_DUMPS, _POOL_ATOMS = 4, 200_000
#: Times in a trajectory that the last good frame is written anew: text of all atoms, which must not
#: cost more than MD.
_GOOD_DUMPS = 200
#: Velocities are drawn at this multiple of the temperature: from perfect lattice sites half of it
#: turns into potential energy at once.
_VELOCITY_FACTOR = 2.0
#: Steps of the decay of the Langevin bath that re-thermalises.
_BATH_STEPS = 25
#: The generator of fixes takes seeds below this; that of `velocity` takes any.
_SEED_END = 900_000_000
_COUPLINGS = {"isotropic": "iso", "anisotropic": "aniso", "triclinic": "tri"}


def render_input(
    parameters: ExploreParameters,
    potential: Sequence[str],
    *,
    volume_angstrom3: float,
    present: Sequence[str],
    checkpoint: str | None = None,
) -> str:
    """`in.lammps` in metal units; `potential` are the engine's lines, which set `gamma_of_atom`.

    The structure has `volume_angstrom3` at the start, and atoms of the elements `present`. With the
    name of a restart file the walker goes on from there.
    """
    walker, stride = parameters.walker, parameters.stride
    lines = [
        *render_structure(
            parameters, potential, f"read_restart {checkpoint}" if checkpoint else None
        ),
        f"timestep {walker.timestep_fs * _FS_IN_PS:g}",
        *([] if checkpoint else [_velocities(walker)]),
        _integrator(walker),
        *_deformation(walker),
        *_swaps(parameters, present),
        "compute gamma_max all reduce max v_gamma_of_atom",
        "compute gamma_sum all reduce sum v_gamma_of_atom",
        "compute pairs all pair/local dist",
        "compute distance_min all reduce min c_pairs inputs local",
        "variable gamma_max equal c_gamma_max",
        "variable distance_min equal c_distance_min",
        "variable temperature equal temp",
        f"variable pressure_gpa equal press/{_GPA_IN_BAR:g}",
        f'fix trace all print {stride} "{_TRACE_VALUES}" append gamma.csv screen no title "{TRACE_TITLE}"',  # noqa: E501 - text for another program
        *_collected_dump(parameters),
        f"variable unsure equal c_gamma_max>={parameters.gamma_select:g}",
        f"dump good all custom {_every(parameters, _GOOD_DUMPS)} good.*.dump {_COLUMNS}",
        f"dump_modify good skip v_unsure maxfiles 1 {DUMPED}",
        *_audit_dump(parameters, len(present)),
        *_halts(parameters, volume_angstrom3),
        f"restart {_every(parameters, _CHECKPOINTS_EACH)} {' '.join(CHECKPOINTS[:2])}",
        "thermo_style custom step temp pe etotal press vol c_gamma_max c_distance_min",
        f"thermo {10 * stride}",
        RUN_MARK,
        *_rethermalisation(parameters),
        f"run {walker.steps} upto",
        f"write_dump all custom last.dump {_COLUMNS} modify {DUMPED}",
        f'if "$(v_asked) > 0" then "write_restart {CHECKPOINTS[2]}"',
    ]
    return "\n".join(lines) + "\n"


def render_structure(
    parameters: ExploreParameters, potential: Sequence[str], read: str | None = None
) -> list[str]:
    """The lines that stand before everything else: a structure and its potential."""
    return [
        "units metal",
        "atom_style atomic",
        "atom_modify map array sort 0 0.0",
        "boundary p p p",
        read or "read_data structure.data",
        *(
            f"mass {kind} {_mass(element):.6f}"
            for kind, element in enumerate(parameters.elements, 1)
        ),
        *potential,
    ]


def needs_tilt(walker: Walker) -> bool:
    """Whether the box has to be triclinic from the start, for it will become so."""
    deform = walker.deform
    tilted = walker.ensemble == "npt" and walker.barostat == "triclinic"
    return tilted or (deform is not None and len(deform.axis) > 1)


def _mass(element: str) -> float:
    return float(atomic_masses[atomic_numbers[element]])


def _velocities(walker: Walker) -> str:
    kelvin = walker.temperature_kelvin
    if walker.continues is not None:
        return f"velocity all scale {kelvin:g}"
    return f"velocity all create {_VELOCITY_FACTOR * kelvin:g} {walker.seed} dist gaussian"


def _seed(walker: Walker, number: int = 0) -> int:
    """A seed for a fix, from 1 on."""
    seed: int = walker.seed
    return 1 + (seed + number) % (_SEED_END - 1)


def _integrator(walker: Walker) -> str:
    kelvin, step_ps = walker.temperature_kelvin, walker.timestep_fs * _FS_IN_PS
    thermostat = f"temp {kelvin:g} {kelvin:g} {100 * step_ps:g}"
    if walker.ensemble == "nvt":
        return f"fix integrate all nvt {thermostat}"
    bar = walker.pressure_gpa * _GPA_IN_BAR
    coupling = _COUPLINGS[walker.barostat]
    return f"fix integrate all npt {thermostat} {coupling} {bar:g} {bar:g} {1000 * step_ps:g}"


def _deformation(walker: Walker) -> list[str]:
    deform = walker.deform
    return (
        [f"fix deform all deform 1 {deform.axis} erate {deform.rate_per_ps:g} remap x"]
        if deform
        else []
    )


def _swaps(parameters: ExploreParameters, present: Sequence[str]) -> Iterator[str]:
    walker = parameters.walker
    if (swaps := walker.swaps) is None:
        return
    kinds = [kind for kind, element in enumerate(parameters.elements, 1) if element in present]
    for number, (first, other) in enumerate(combinations(kinds, 2)):
        seed, kelvin = _seed(walker, number), walker.temperature_kelvin
        rounds = f"{swaps.every_steps} {swaps.attempts} {seed} {kelvin:g}"
        yield f"fix swap_{first}_{other} all atom/swap {rounds} ke yes types {first} {other}"


def _collected_dump(parameters: ExploreParameters) -> list[str]:
    """Every frame above gamma_select, unless a pool of decorrelated ones is asked for."""
    if parameters.pool_frames:
        return []
    return [
        f"variable quiet equal c_gamma_max<{parameters.gamma_select:g}",
        f"dump collected all custom {parameters.stride} collected.dump {_COLUMNS}",
        f"dump_modify collected skip v_quiet append yes {DUMPED}",
    ]


def _audit_dump(parameters: ExploreParameters, n_atoms: int) -> list[str]:
    """Frames whatever their γ: to draw audits from, and the pool."""
    pool = parameters.pool_frames
    if parameters.audit_frames == 0 and pool == 0:
        return []
    dumps = (
        max(min(_POOL_DUMPS * pool, _POOL_ATOMS // n_atoms), _AUDIT_DUMPS) if pool else _AUDIT_DUMPS
    )
    return [
        f"dump audit all custom {_every(parameters, dumps)} audit.dump {_COLUMNS}",
        f"dump_modify audit append yes {DUMPED}",
    ]


def _every(parameters: ExploreParameters, times: int) -> int:
    """Steps between two of so many in a trajectory, on the stride."""
    steps: int = parameters.walker.steps
    stride: int = parameters.stride
    return max(steps // times // stride, 1) * stride


def _halts(parameters: ExploreParameters, volume_angstrom3: float) -> Iterator[str]:
    """γ first: of several conditions met at one step, the first counts."""
    walker, stride = parameters.walker, parameters.stride
    hot = walker.temperature_kelvin * parameters.temperature_factor_max
    gamma = "gamma_max"
    if grace := parameters.gamma_grace_steps:
        gamma = "gamma_counted"
        yield f"variable gamma_counted equal c_gamma_max*(step>{grace})"
    yield f"fix halt_gamma all halt {stride} v_{gamma} > {parameters.gamma_halt:g} error soft"
    yield (
        f"fix halt_distance all halt {stride} v_distance_min <"
        f" {parameters.distance_min_angstrom:g} error soft"
    )
    yield from _pair_halts(parameters)
    yield f"fix halt_temperature all halt {stride} v_temperature > {hot:g} error soft"
    yield "variable pressure_size equal abs(v_pressure_gpa)"
    yield (
        f"fix halt_pressure all halt {stride} v_pressure_size > {parameters.pressure_max_gpa:g}"
        " error soft"
    )
    volume = f"{volume_angstrom3:.10g}"
    yield f"variable volume_factor equal ternary(vol>{volume},vol/{volume},{volume}/vol)"
    yield (
        f"fix halt_volume all halt {stride} v_volume_factor > {parameters.volume_factor_max:g}"
        " error soft"
    )
    yield "variable numbers equal (pe==pe)*(c_gamma_sum==c_gamma_sum)"
    yield f"fix halt_numbers all halt {stride} v_numbers < 1 error soft"
    yield f"variable asked equal is_file({STOP_FILE})"
    yield f"fix halt_asked all halt {stride} v_asked > 0 error soft"


def _pair_halts(parameters: ExploreParameters) -> Iterator[str]:
    """Neighbours of the second element within the pair's distance, summed over atoms of the first.

    By type at the moment, not by group: swaps change the types.
    """
    for pair, distance_angstrom in sorted(parameters.distances_min_angstrom.items()):
        first, other = (parameters.elements.index(element) + 1 for element in pair.split("-"))
        name = f"{first}_{other}"
        yield f"compute near_{name} all coord/atom cutoff {distance_angstrom:g} {other}"
        yield f'variable near_{name} atom "(type=={first})*c_near_{name}"'
        yield f"compute count_{name} all reduce sum v_near_{name}"
        yield f"variable count_{name} equal c_count_{name}"
        yield f"fix halt_pair_{name} all halt {parameters.stride} v_count_{name} > 0 error soft"


def _rethermalisation(parameters: ExploreParameters) -> list[str]:
    """The first steps of a continuation; none is left when it goes on from a later checkpoint."""
    walker, steps = parameters.walker, parameters.rethermalise_steps
    if walker.continues is None or steps == 0:
        return []
    kelvin, decay_ps = walker.temperature_kelvin, _BATH_STEPS * walker.timestep_fs * _FS_IN_PS
    bath = f"fix bath all langevin {kelvin:g} {kelvin:g} {decay_ps:g} {_seed(walker)}"
    return [
        f'if "$(step) < {steps}" then "{bath}" "run {min(steps, walker.steps)} upto" "unfix bath"'
    ]
