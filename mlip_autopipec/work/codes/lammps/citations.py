"""What a paper cites that has used LAMMPS: BibTeX entries by their keys."""

from collections.abc import Mapping

ENTRIES: Mapping[str, str] = {
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
}""",  # noqa: E501 - text for another program
}
