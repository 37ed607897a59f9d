"""Lists as answers, with the time and the node they come from. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from hybrid.api import schema
from hybrid.api.calls import Answer, json_answer
from hybrid.api.moments import rfc3339
from hybrid.api.names import node_name
from hybrid.api.parts import Parts

T = TypeVar("T", bound=msgspec.Struct)


def page(parts: Parts, kind: type[T], items: Sequence[T]) -> Answer:
    """`items` of one `kind` as a list."""
    view = parts.view
    answer = schema.Page[T](items=tuple(items), as_of=rfc3339(parts.wall_s()), from_node=node_name(view, view.me))
    return json_answer(answer)
