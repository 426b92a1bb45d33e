"""The shape of site.yaml, read off its models: which keys stand where, for any section ever added.

Handles what sections are made of: models, lists (tuples), mappings, optional values, and unions,
with a discriminator or without. A discriminator is always called `kind`.
"""

import dataclasses
import functools
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeGuard, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mlip_autopipec.contract.mistakes import KeyPath
from mlip_autopipec.contract.seams import OneOf

KIND = "kind"
#: What pydantic ends a location with when not a mapping's value but its key is wrong.
KEY = "[key]"
_UNIONS = (Union, types.UnionType)


@dataclass(frozen=True, slots=True)
class SchemaPosition:
    """Where one of pydantic's locations is in the file, and what the models say of it."""

    path: KeyPath
    section: type | None  # the model whose key the last part is, or would be
    field: FieldInfo | None  # None: the section has no such key, or the place is no key
    members: tuple[Any, ...]  # what may stand here, `X | None` and unions taken apart
    items: int | None = None  # how many items the list around has, where that is fixed
    choice: OneOf | None = None  # of codes, where one of those stands here


def locate(root: type, location: Sequence[str | int]) -> SchemaPosition:
    """Walk down the models.

    Parts that are only in pydantic's location (tags of unions, KEY) have no key.
    """
    position = SchemaPosition((), None, None, (root,))
    for part in location:
        position = _step(position, part)
    return position


def _step(position: SchemaPosition, part: str | int) -> SchemaPosition:
    if part == KEY or _is_tag_of_one(position, part):
        return position
    if len(position.members) > 1:
        return SchemaPosition(position.path, None, position.field, _chosen(position.members, part))
    [here] = position.members or (None,)
    path = (*position.path, part)
    if is_model(here):
        field = fields_of(here).get(str(part))
        annotation = field.rebuild_annotation() if field else types.NoneType
        return SchemaPosition(path, here, field, _members(annotation), choice=_choice(annotation))
    if get_origin(here) is dict:
        return SchemaPosition(path, None, None, _members(get_args(here)[1]))
    if get_origin(here) in {tuple, list}:
        items = get_args(here)
        fixed = len(items) if get_origin(here) is tuple and Ellipsis not in items else None
        item = _item(items, part)
        return SchemaPosition(path, None, None, _members(item), fixed, _choice(item))
    return SchemaPosition(path, None, None, ())


def _is_tag_of_one(position: SchemaPosition, part: str | int) -> bool:
    """Whether this is the tag of a union of one member: of codes, only one may be installed."""
    if len(position.members) != 1 or not is_model(position.members[0]):
        return False
    return part in kinds(position.members) and part not in fields_of(position.members[0])


def _item(items: tuple[Any, ...], index: str | int) -> Any:
    if isinstance(index, int) and Ellipsis not in items and index < len(items):
        return items[index]
    return items[0]


def _chosen(members: tuple[Any, ...], tag: str | int) -> tuple[Any, ...]:
    """The member of a union that pydantic's tag stands for; none if it is no model."""
    return tuple(
        member
        for member in members
        if is_model(member) and tag in {member.__name__, *kinds((member,))}
    )


def kinds(members: tuple[Any, ...]) -> tuple[str, ...]:
    """The values of `kind` that these members of a union answer to."""
    fields = [
        fields_of(member)[KIND]
        for member in members
        if is_model(member) and KIND in fields_of(member)
    ]
    return tuple(word for field in fields for word in get_args(field.annotation))


def _members(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        choice = _choice(annotation)
        return tuple(choice.members().values()) if choice else _members(get_args(annotation)[0])
    if get_origin(annotation) in _UNIONS:
        return tuple(member for kind in get_args(annotation) for member in _members(kind))
    return () if annotation is types.NoneType else (annotation,)


def _choice(annotation: Any) -> OneOf | None:
    """Of codes, where the annotation is of one of them."""
    notes = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((note for note in notes if isinstance(note, OneOf)), None)


def is_model(kind: Any) -> TypeGuard[type]:
    """Whether this kind of value is a section of keys: a model, or a value of the contract."""
    return isinstance(kind, type) and (
        issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind)
    )


@functools.cache
def fields_of(section: type) -> Mapping[str, FieldInfo]:
    """The keys of a section, and what is said of each."""
    if issubclass(section, BaseModel):
        return section.model_fields
    hints = get_type_hints(section, include_extras=True)
    return {
        each.name: FieldInfo.from_annotated_attribute(hints[each.name], each)
        for each in dataclasses.fields(section)  # type: ignore[arg-type] # it is a value of the contract
    }


def keys(root: type, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Every key that a file may have, by path.

    A list's items and a mapping's values are under its path.
    """
    for name, field in fields_of(root).items():
        yield (*path, name)
        for model in _models(field.rebuild_annotation()):
            yield from keys(model, (*path, name))


def _models(annotation: Any) -> Iterator[type]:
    for member in _members(annotation):
        if is_model(member):
            yield member
        else:
            for kind in get_args(member):
                yield from _models(kind)
