"""What crystals are called."""

import re

#: Earlier versions left the number out, so that nobody saw which of the two there are three of.
_L1_2_BEFORE = re.compile(r"\b([A-Z][a-z]?)([A-Z][a-z]?) l1_2\b")


def crystal_name(text: str) -> str:
    """A text with each crystal named as of today, such as `AuCu3 l1_2`; other text stays as it is.

    Texts are names of crystals, and origins of labels, which earlier versions made too.
    """
    return _L1_2_BEFORE.sub(r"\1\g<2>3 l1_2", text)
