"""Closed sets of words that both halves use."""

from enum import StrEnum


class Role(StrEnum):
    """What a labelled structure is for. A test structure is never trained on, in any cycle."""

    TRAIN = "train"
    TEST = "test"
    PROPERTY = "property"  # for the gate alone: neither trained on, nor in any error
    # a frame of the user's data set, labelled again: neither trained on, nor in any error
    CHECK = "check"
    ISOLATED_ATOM = (
        "isolated_atom"  # its energy is its element's zero: neither trained on, nor in any error
    )
