"""A small campaign on copper, for tests: few structures, few walkers, nothing that waits long."""

from typing import Any

from mlip_autopipec.config.schemas.workflow import WorkflowConfig

_FCC: dict[str, Any] = {"structure": "fcc", "elements": ["Cu"], "lattice_constant_angstrom": 3.61}
_SECTIONS: dict[str, Any] = {
    "campaign": {"name": "copper", "elements": ["Cu"], "seed": 7, "folder": "campaigns/copper"},
    "site": {"root": "campaigns/copper/root", "poll_interval": "30 s", "grace": "120 s"},
    "distance_min_angstrom": 1.5,
    "generation": {
        "prototypes": [_FCC],
        "structures": 2,
        "test_structures": 1,
        "rattle_angstrom": [0.05, 0.15],
    },
    "exploration": {
        "gamma_select": 2,
        "gamma_halt": 10,
        "stride": 5,
        "walkers": [
            {
                "prototype": _FCC,
                "temperatures_kelvin": [300, 900, 1500],
                "steps": 1500,
                "timestep_fs": 2,
            }
        ],
    },
    "selection": {"candidates_max": 3, "audit": 1},
    "calculation": {"oracle": {"kind": "ase", "calculator": "ase.calculators.emt.EMT"}},
    "training": {"trainer": "linear", "cutoff_angstrom": 6.0, "functions_per_element": 60},
    "convergence": {"quiet_cycles": 2, "cycles_max": 4},
}


def copper_config(**sections: dict[str, Any]) -> WorkflowConfig:
    """The campaign's site file; keys given here replace those of their section."""
    merged = {
        **_SECTIONS,
        **{name: {**_SECTIONS.get(name, {}), **section} for name, section in sections.items()},
    }
    return WorkflowConfig.model_validate(merged)
