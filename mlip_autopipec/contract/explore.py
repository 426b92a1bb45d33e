"""Exploration: walks, and what is told of their γ."""

#: γ is counted in bins of equal width on a logarithmic scale, so many from each power of ten to the next.
GAMMA_BINS_PER_DECADE = 8
