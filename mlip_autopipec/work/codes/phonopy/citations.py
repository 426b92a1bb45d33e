"""What a paper cites that has used phonopy: BibTeX entries by their keys."""

from collections.abc import Mapping

ENTRIES: Mapping[str, str] = {
    "phonopy": """\
@article{phonopy,
  author  = {Togo, Atsushi and Chaput, Laurent and Tadano, Terumasa and Tanaka, Isao},
  title   = {Implementation strategies in phonopy and phono3py},
  journal = {Journal of Physics: Condensed Matter},
  volume  = {35},
  pages   = {353001},
  year    = {2023},
  doi     = {10.1088/1361-648X/acd831},
}""",
}
