"""What a paper cites, by what a campaign has used."""

from collections.abc import Mapping

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.measure import asked_of
from mlip_autopipec.contract.oracle import rules_of
from mlip_autopipec.contract.trainer import trainer_code

_ENTRIES: Mapping[str, str] = {
    "ace": """\
@article{ace,
  author  = {Drautz, Ralf},
  title   = {Atomic cluster expansion for accurate and transferable interatomic potentials},
  journal = {Physical Review B},
  volume  = {99},
  pages   = {014104},
  year    = {2019},
  doi     = {10.1103/PhysRevB.99.014104},
}""",
    "pace": """\
@article{pace,
  author  = {Lysogorskiy, Yury and van der Oord, Cas and Bochkarev, Anton and Menon, Sarath and Rinaldi, Matteo
             and Hammerschmidt, Thomas and Mrovec, Matous and Thompson, Aidan and Cs{\\'a}nyi, G{\\'a}bor
             and Ortner, Christoph and Drautz, Ralf},
  title   = {Performant implementation of the atomic cluster expansion ({PACE}) and application to copper and silicon},
  journal = {npj Computational Materials},
  volume  = {7},
  pages   = {97},
  year    = {2021},
  doi     = {10.1038/s41524-021-00559-9},
}""",
    "pacemaker": """\
@article{pacemaker,
  author  = {Bochkarev, Anton and Lysogorskiy, Yury and Menon, Sarath and Qamar, Minaam and Mrovec, Matous
             and Drautz, Ralf},
  title   = {Efficient parametrization of the atomic cluster expansion},
  journal = {Physical Review Materials},
  volume  = {6},
  pages   = {013804},
  year    = {2022},
  doi     = {10.1103/PhysRevMaterials.6.013804},
}""",
    "ace_active": """\
@article{ace_active,
  author  = {Lysogorskiy, Yury and Bochkarev, Anton and Mrovec, Matous and Drautz, Ralf},
  title   = {Active learning strategies for atomic cluster expansion models},
  journal = {Physical Review Materials},
  volume  = {7},
  pages   = {043801},
  year    = {2023},
  doi     = {10.1103/PhysRevMaterials.7.043801},
}""",
    "lammps": """\
@article{lammps,
  author  = {Thompson, Aidan P. and Aktulga, H. Metin and Berger, Richard and Bolintineanu, Dan S. and Brown, W. Michael
             and Crozier, Paul S. and in 't Veld, Pieter J. and Kohlmeyer, Axel and Moore, Stan G. and Nguyen, Trung Dac
             and Shan, Ray and Stevens, Mark J. and Tranchida, Julien and Trott, Christian and Plimpton, Steven J.},
  title   = {{LAMMPS} -- a flexible simulation tool for particle-based materials modeling at the atomic, meso, and
             continuum scales},
  journal = {Computer Physics Communications},
  volume  = {271},
  pages   = {108171},
  year    = {2022},
  doi     = {10.1016/j.cpc.2021.108171},
}""",
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
    used = ["ace", "pace", "ace_active", "lammps", "ase"]
    if config.training.trainer == "pacemaker":
        used.append("pacemaker")
    trainer = config.training.trainer
    used += trainer_code(trainer).control().citations(trainer)
    oracle = config.calculation.oracle
    used += rules_of(oracle).citations(oracle)
    for measure in asked_of(config.training.gate):
        used += measure.code.control().citations(measure.section)
    return (*used, "mlip_autopipec")


def bibtex(config: WorkflowConfig, version: str) -> str:
    """citations.bib."""
    oracle = config.calculation.oracle
    trainer = config.training.trainer
    entries = {**_ENTRIES, **trainer_code(trainer).control().citations(trainer)}
    entries |= rules_of(oracle).citations(oracle)
    for measure in asked_of(config.training.gate):
        entries |= measure.code.control().citations(measure.section)
    own = f"""\
@software{{mlip_autopipec,
  author  = {{{{mlip\\_autopipec developers}}}},
  title   = {{{{mlip\\_autopipec}}: active learning of {{ACE}} potentials, unattended}},
  version = {{{version}}},
}}"""
    return "\n\n".join({**entries, "mlip_autopipec": own}[key] for key in keys(config)) + "\n"
