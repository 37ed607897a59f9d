"""
What a cluster knows besides its sites: zones, accounts, packages, records, tokens, certificates, stores. Pure.

Sites are not part of it: what they are stands in the properties of their datasets. This is the rest, as a value that
goes into a file, or into the properties of a dataset of its own in every node's pool, from where a cluster of which
nothing but pools is left is begun again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from hybrid.cluster.keyring import KEYRING
from hybrid.errors import BadRequest
from hybrid.view import View

DATASET = "cluster/configuration"
_ABOUT = "about"
_VALUE = "v-"


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """
    Of one cluster at one moment.

    Attributes:
        cluster: Its id.
        name: For people.
        zones: DNS zones from its settings, the main one first.
        nodes: Names of its nodes, in order.
        values: Its shared map, without what is deleted, and without the keys that nodes replace by themselves.
    """

    cluster: str
    name: str
    zones: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    values: dict[str, str] = {}
    format: int = 1


NOWHERE = Configuration(cluster="", name="")


class _Value(msgspec.Struct, frozen=True, array_like=True):
    key: str
    value: str


def kept_values(shared: Mapping[str, str]) -> dict[str, str]:
    """What of the shared map is worth keeping."""
    return {key: value for key, value in sorted(shared.items()) if key != KEYRING}


def current(about: Configuration, view: View, shared: Mapping[str, str]) -> Configuration:
    """That of the cluster `about`, as it is now."""
    nodes = tuple(sorted(node.name for node in view.nodes.values()))
    return msgspec.structs.replace(about, nodes=nodes, values=kept_values(shared))


def properties(configuration: Configuration) -> dict[str, str]:
    """As properties of a dataset, one for each value, so that a change rewrites little."""
    about = msgspec.structs.replace(configuration, values={})
    found = {_ABOUT: msgspec.json.encode(about).decode()}
    for key, value in configuration.values.items():
        digest = hashlib.blake2b(key.encode(), digest_size=10).hexdigest()
        found[_VALUE + digest] = msgspec.json.encode(_Value(key, value)).decode()
    return found


def of_properties(found: Mapping[str, str]) -> Configuration:
    """
    What `properties` made, from the properties of a dataset; a value that cannot be read is left out.

    Raises:
        BadRequest: There is none.
    """
    try:
        about = msgspec.json.decode(found[_ABOUT], type=Configuration)
    except (KeyError, msgspec.MsgspecError):
        raise BadRequest("this pool keeps no configuration of a cluster", "", "leave --recover out") from None
    values = {}
    for name, text in found.items():
        if name.startswith(_VALUE):
            try:
                value = msgspec.json.decode(text, type=_Value)
            except msgspec.MsgspecError:
                continue
            values[value.key] = value.value
    return msgspec.structs.replace(about, values=values)


def of_file(data: bytes) -> Configuration:
    """What `hybrid cluster export` wrote. Raises `BadRequest`."""
    try:
        found = msgspec.json.decode(data, type=Configuration)
    except msgspec.MsgspecError as error:
        raise BadRequest("this is no exported configuration", str(error), "hybrid cluster export") from error
    if found.format != 1:
        raise BadRequest(f"a configuration of format {found.format} is not known", "", "upgrade Hybrid")
    return found


def differences(current: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str | None]:
    """What to write over `current` properties so that they become `wanted`; `None` removes one."""
    changed: dict[str, str | None] = {key: value for key, value in wanted.items() if current.get(key) != value}
    ours = [key for key in current if key == _ABOUT or key.startswith(_VALUE)]
    return changed | {key: None for key in ours if key not in wanted}
