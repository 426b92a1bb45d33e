"""A value that is of one kind out of those that the registry has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mlip_autopipec.contract import registry


@dataclass(frozen=True)
class OneOf:
    """In an annotation: a value of any code of the seam, which its `kind` names.

    `part` is the attribute of a declaration that has the class of such a value. The union is looked
    up when it is asked for, so that whoever has this annotation imports no code.
    """

    seam: str
    part: str
    literals: tuple[str, ...] = ()  # that may stand for codes which have no such value

    def members(self) -> Mapping[str, type]:
        """The class for each `kind` that can be loaded."""
        return registry.usable(self.seam, self.part)

    def member(self, kind: object) -> type:
        """The class for this `kind`. Raises UnknownCode."""
        return registry.part(self.seam, str(kind), self.part)

    def _refuse(self, given: object) -> object:
        kind = given.get("kind") if isinstance(given, dict) else None
        if kind in registry.entries(self.seam):
            self.member(kind)  # says why it cannot be used
        raise ValueError(f"expected nothing here: no package that is installed brings {self.seam}")

    def __get_pydantic_core_schema__(
        self, source: Any, handler: Callable[..., Any]
    ) -> dict[str, Any]:
        """Pydantic's schema of the union: a mapping, so that nothing of pydantic is needed here."""
        make = handler.generate_schema  # type: ignore[attr-defined] # of pydantic's GetCoreSchemaHandler
        choices = {name: make(member) for name, member in self.members().items()}
        if self.literals:
            literals = {word: {"type": "literal", "expected": [word]} for word in self.literals}
            return {
                "type": "tagged-union",
                "choices": {**literals, **choices},
                "discriminator": _tag,
            }
        if not choices:
            refused = {"type": "no-info", "function": self._refuse}
            return {"type": "function-before", "function": refused, "schema": {"type": "dict"}}
        return {"type": "tagged-union", "choices": choices, "discriminator": "kind"}


def _tag(given: object) -> object:
    """By which a value is told from others: a word is its own, else its kind."""
    if isinstance(given, str):
        return given
    return given.get("kind") if isinstance(given, Mapping) else getattr(given, "kind", None)
