"""Random seeds that depend on nothing but the campaign's seed and what they are for."""

import hashlib

_SEED_MAX = 2**31 - 2  # LAMMPS takes positive 32-bit integers


def seed_for(campaign_seed: int, *purpose: object) -> int:
    """A seed in 1 … 2³¹-2, the same for the same purpose in every run."""
    digest = hashlib.sha256(repr((campaign_seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % _SEED_MAX + 1
