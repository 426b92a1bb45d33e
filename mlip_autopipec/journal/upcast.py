"""Upcasters: how an earlier version's event is said today. The files stay as they were written.

A version is raised when what already stands in journals could no longer be read, or would mean
something else: a field renamed or gone, a unit changed. A new kind of event, or a new field with a
default, needs none.
"""

from collections.abc import Callable
from typing import Any, Final

#: Makes of an event's JSON, in the words of one version, the same event in the words of the next.
#: Pure, and knows every kind of event that its version wrote.
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

#: In the order of the versions that they read: the first reads version 1. The version that this
#: program writes is the one that the last of them makes.
UPCASTERS: Final[tuple[Upcaster, ...]] = ()
