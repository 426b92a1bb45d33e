"""What a paper cites that has used ACE, by python-ace and ML-PACE: BibTeX entries by their keys."""

from collections.abc import Mapping

ENTRIES: Mapping[str, str] = {
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
}""",  # noqa: E501 - text for another program
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
}
