"""Words of others, for a terminal."""


def printable(text: str) -> str:
    """The text with a mark in place of every control character: a terminal takes some of them for commands."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text)
