"""What a paper cites that has used one of ASE's calculators: BibTeX entries by their keys."""

from collections.abc import Mapping

ENTRIES: Mapping[str, str] = {
    "emt": """\
@article{emt,
  author  = {Jacobsen, Karsten W. and Stoltze, Per and N{\\o}rskov, Jens K.},
  title   = {A semi-empirical effective medium theory for metals and alloys},
  journal = {Surface Science},
  volume  = {366},
  pages   = {394--402},
  year    = {1996},
  doi     = {10.1016/0039-6028(96)00816-3},
}""",
}
