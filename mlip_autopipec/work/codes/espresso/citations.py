"""What a paper cites that has used Quantum ESPRESSO: BibTeX entries by their keys."""

from collections.abc import Mapping

ENTRIES: Mapping[str, str] = {
    "espresso2009": """\
@article{espresso2009,
  author  = {Giannozzi, Paolo and others},
  title   = {{QUANTUM ESPRESSO}: a modular and open-source software project for quantum simulations of materials},
  journal = {Journal of Physics: Condensed Matter},
  volume  = {21},
  pages   = {395502},
  year    = {2009},
  doi     = {10.1088/0953-8984/21/39/395502},
}""",  # noqa: E501 - text for another program
    "espresso2017": """\
@article{espresso2017,
  author  = {Giannozzi, Paolo and others},
  title   = {Advanced capabilities for materials modelling with {Quantum ESPRESSO}},
  journal = {Journal of Physics: Condensed Matter},
  volume  = {29},
  pages   = {465901},
  year    = {2017},
  doi     = {10.1088/1361-648X/aa8f79},
}""",
}
