"""Documents spoiled in every place, by anything that JSON has."""

from typing import Any

from hypothesis import strategies as st

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    inner = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    return [path, *(index for key, value in inner for index in places(value, (*path, key)))]


def spoiled(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with `value` at one place."""
    if not path:
        return value
    copy = document.copy()
    copy[path[0]] = spoiled(document[path[0]], path[1:], value)
    return copy
