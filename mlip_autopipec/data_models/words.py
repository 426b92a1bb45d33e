"""Words of others as the journal takes them: valid Unicode, and of a bounded length."""

from typing import Annotated, Any

from pydantic import BeforeValidator

#: Characters of one text; what is longer is cut, with an ellipsis.
TEXT_MAX = 8000


def tidy(value: object) -> object:
    """A text without lone surrogates, which UTF-8 can't hold, and cut at WORDS_MAX.

    Anything else as it is.
    """
    if not isinstance(value, str):
        return value
    valid = value if value.isascii() else value.encode("utf-8", "replace").decode()
    return valid if len(valid) <= TEXT_MAX else f"{valid[: TEXT_MAX - 1]}…"


TidyText = Annotated[str, BeforeValidator(tidy)]


def tidied(content: Any) -> Any:
    """JSON of others, in which every text is tidy."""
    if isinstance(content, dict):
        return {tidy(name): tidied(item) for name, item in content.items()}
    return [tidied(item) for item in content] if isinstance(content, list) else tidy(content)
