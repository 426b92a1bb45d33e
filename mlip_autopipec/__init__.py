"""Active learning of Atomic Cluster Expansion potentials, unattended."""

__version__ = "0.2.0"
