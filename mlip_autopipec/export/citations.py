"""What a paper cites, by what a campaign has used."""

from collections.abc import Mapping

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.engine import engine_code
from mlip_autopipec.contract.measure import asked_of
from mlip_autopipec.contract.oracle import rules_of
from mlip_autopipec.contract.trainer import evaluator_of, trainer_code

_ENTRIES: Mapping[str, str] = {
    "ase": """\
@article{ase,
  author  = {Larsen, Ask Hjorth and others},
  title   = {The atomic simulation environment -- a {Python} library for working with atoms},
  journal = {Journal of Physics: Condensed Matter},
  volume  = {29},
  pages   = {273002},
  year    = {2017},
  doi     = {10.1088/1361-648X/aa680e},
}""",
}


def keys(config: WorkflowConfig) -> tuple[str, ...]:
    """Of the entries for what this campaign has used, the program's own last."""
    return (*_entries(config), "mlip_autopipec")


def bibtex(config: WorkflowConfig, version: str) -> str:
    """citations.bib."""
    own = f"""\
@software{{mlip_autopipec,
  author  = {{{{mlip\\_autopipec developers}}}},
  title   = {{{{mlip\\_autopipec}}: active learning of {{ACE}} potentials, unattended}},
  version = {{{version}}},
}}"""
    return (
        "\n\n".join({**_entries(config), "mlip_autopipec": own}[key] for key in keys(config)) + "\n"
    )


def _entries(config: WorkflowConfig) -> Mapping[str, str]:
    """What every campaign uses, and what each of its codes says of itself."""
    trainer, oracle = config.training.trainer, config.calculation.oracle
    entries = {
        **evaluator_of(trainer).control().citations(),
        **engine_code(config.exploration.engine.kind).cited(),
    }
    entries |= _ENTRIES
    entries |= trainer_code(trainer).control().citations(trainer)
    entries |= rules_of(oracle).citations(oracle)
    for measure in asked_of(config.training.gate):
        entries |= measure.code.control().citations(measure.section)
    return entries
