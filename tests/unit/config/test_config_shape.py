"""Sections no site file has yet: unions with and without a discriminator, in lists and mappings."""

from datetime import time
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, model_validator

from mlip_autopipec.config.complaints import read
from mlip_autopipec.config.shape import keys
from mlip_autopipec.contract.mistakes import dotted
from mlip_autopipec.data_models.base import Model, Phase


class Near(Model):
    """A site that is here."""

    kind: Literal["near"]
    folder: str


class Far(Model):
    """A site that is elsewhere."""

    kind: Literal["far"]
    host: str = Field(description="name of the machine")
    ports: tuple[int, ...] = ()


Site = Annotated[Near | Far, Field(discriminator="kind")]


class Several(Model):
    """A section with a rule of its own."""

    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def _ordered(self) -> "Several":
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Everything(Model):
    """All that sections may be made of."""

    site: Site
    sites: tuple[Site, ...] = ()
    spare: Site | None = None
    by_phase: dict[Phase, tuple[Far, ...]] = Field(default_factory=dict)
    count: int | Literal["all"] | None = None
    either: Near | int = 1
    either_words: Literal["all", "none"] | dict[str, float] = "all"
    pair: tuple[int, Far] | None = None
    several: Several = Several()
    many: tuple[int, ...] | int = 1
    at: time = time(12)


NEAR = {"kind": "near", "folder": "x"}


def told(**values: Any) -> list[tuple[str, str, str, str | None]]:
    """Path, value, expectation and suggestion of every mistake."""
    reading = read(Everything, {"site": NEAR, **values})
    return [
        (dotted(item.path), item.given, item.expected, item.suggestion) for item in reading.mistakes
    ]


@pytest.mark.parametrize(
    ("values", "mistake"),
    [
        ({"site": {"kind": "fra"}}, ("site.kind", "'fra'", "expected 'near', 'far'", "far")),
        ({"site": {"kin": "near", "folder": "x"}}, ("site.kin", "'near'", "no such key", "kind")),
        ({"site": {"folder": "x"}}, ("site.kind", "missing", "required: 'near', 'far'", None)),
        ({"site": {"kind": "far", "hots": "x"}}, ("site.hots", "'x'", "no such key", "host")),
        (
            {"site": {"kind": "far"}},
            ("site.host", "missing", "required: name of the machine", None),
        ),
        (
            {"site": {**NEAR, "host": 1}},
            ("site.host", "1", "no such key here; there are kind, folder", None),
        ),
        ({"site": 3}, ("site", "3", "expected a section of keys", None)),
        (
            {"sites": [NEAR, {**NEAR, "fodler": 1}]},
            ("sites[1].fodler", "1", "no such key", "folder"),
        ),
        ({"spare": {"kind": "far", "host": 5}}, ("spare.host", "5", "expected text", None)),
        (
            {"spare": {"kind": "far", "host": "h", "ports": [1, "x"]}},
            ("spare.ports[1]", "'x'", "expected a whole number", None),
        ),
        (
            {"by_phase": {"training": [{"kind": "far", "hst": "h"}]}},
            ("by_phase.training[0].hst", "'h'", "no such key", "host"),
        ),
        ({"by_phase": {"traning": []}}, ("by_phase.traning", "[]", "no such key", "training")),
        ({"either_words": {"x": "y"}}, ("either_words.x", "'y'", "expected a number", None)),
        (
            {"either_words": "all of it"},
            ("either_words", "'all of it'", "expected 'all' or 'none' or a section of keys", None),
        ),
        ({"count": "al"}, ("count", "'al'", "expected a whole number or 'all'", "all")),
        (
            {"either": {"kind": "near", "foldr": "x"}},
            ("either.foldr", "'x'", "no such key", "folder"),
        ),
        ({"pair": [1]}, ("pair", "[1]", "expected a list of 2", None)),
        (
            {"pair": [1, {"kind": "far", "hosts": "x"}]},
            ("pair[1].hosts", "'x'", "no such key", "host"),
        ),
        ({"many": [1, "x"]}, ("many[1]", "'x'", "expected a whole number", None)),
        (
            {"at": "noon"},
            (
                "at",
                "'noon'",
                "refused: Input should be in a valid time format, input is too short",
                None,
            ),
        ),
        ({"several": {"low": 2}}, ("several", "{'low': 2}", "expected low is above high", None)),
    ],
)
def test_mistakes_are_found_inside_of_anything(
    values: Any, mistake: tuple[str, str, str, str | None]
) -> None:
    """By the path that the file has, without pydantic's own additions to it."""
    found = told(**values)
    assert mistake in found
    assert [other[0] for other in found if not other[0].startswith(mistake[0])] in (
        [],
        ["either"],
        ["many"],
    )


def test_what_stands_under_several_misspelled_keys_is_looked_at() -> None:
    """Turn by turn, from the outside in; paths keep the file's spelling."""
    found = told(by_phas={"traning": [{"knd": "far", "host": 3}]})
    assert [(path, suggestion) for path, _, _, suggestion in found] == [
        ("by_phas", "by_phase"),
        ("by_phas.traning", "training"),
        ("by_phas.traning[0].knd", "kind"),
        ("by_phas.traning[0].host", None),
    ]


def test_the_keys_of_sections_are_listed_through_everything() -> None:
    """Where a key that stands in the wrong section might belong."""
    paths = {dotted(path) for path in keys(Everything)}
    assert {
        "site.host",
        "sites.folder",
        "spare.ports",
        "by_phase.kind",
        "either.folder",
        "pair.host",
    } <= paths
    assert {"several.low", "count"} <= paths
