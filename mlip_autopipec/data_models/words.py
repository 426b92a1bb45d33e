"""Words of others as the journal takes them: valid Unicode, and of a bounded length."""

from typing import Annotated

from pydantic import BeforeValidator

#: Characters of one text; what is longer is cut, with an ellipsis.
WORDS_MAX = 8000


def tidy(value: object) -> object:
    """A text without lone surrogates, which UTF-8 can't hold, and cut at WORDS_MAX; anything else as it is."""
    if not isinstance(value, str):
        return value
    valid = value if value.isascii() else value.encode("utf-8", "replace").decode()
    return valid if len(valid) <= WORDS_MAX else f"{valid[: WORDS_MAX - 1]}…"


Words = Annotated[str, BeforeValidator(tidy)]
