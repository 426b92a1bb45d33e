"""What a paper cites that has used pacemaker: BibTeX entries by their keys."""

from collections.abc import Mapping

ENTRIES: Mapping[str, str] = {
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
}""",  # noqa: E501 - text for another program
}
