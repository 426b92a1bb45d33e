"""What the doctor finds of a site."""

from enum import StrEnum

from mlip_autopipec.data_models.base import Model


class Colour(StrEnum):
    """How serious a finding is."""

    GREEN = "green"
    YELLOW = "yellow"  # it will run, and something is worth knowing
    RED = "red"  # a campaign would fail here


class Finding(Model):
    """One line: what was looked at, what was seen, and what to do about it."""

    about: str
    colour: Colour
    seen: str
    remedy: str = ""
