"""Training: the fit."""

from collections.abc import Mapping

#: The most functions per element of the linear basis, by the number of elements.
_FUNCTIONS_MAX: Mapping[int, int] = {1: 1000, 2: 600, 3: 600}
_FUNCTIONS_MAX_OF_MORE = 300


def functions_max(elements: int) -> int:
    """The most functions per element in a linear basis of so many elements."""
    return _FUNCTIONS_MAX.get(elements, _FUNCTIONS_MAX_OF_MORE)
