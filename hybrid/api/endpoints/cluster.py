"""Endpoints about the cluster: status, nodes, images, tokens. Shell."""

from __future__ import annotations

from hybrid.api import lookup, render, schema
from hybrid.api.calls import Answer, Call, json_answer
from hybrid.api.endpoints.pages import page
from hybrid.api.jsonbody import decode
from hybrid.api.moments import rfc3339
from hybrid.api.names import checked_name, image_reference, shown
from hybrid.api.parts import Parts
from hybrid.api.problems import Refusal, problem
from hybrid.api.status import summarise
from hybrid.api.tokens import node_token
from hybrid.deeds import Progress


async def show_status(parts: Parts, call: Call) -> Answer:
    """The cluster in one sentence."""
    return json_answer(summarise(parts.view, parts.wall_s(), len(parts.hosting.decisions())))


async def list_nodes(parts: Parts, call: Call) -> Answer:
    """All nodes, by name."""
    view, now_s = parts.view, parts.wall_s()
    nodes = sorted(view.nodes.values(), key=lambda seen: (seen.name, seen.id))
    return page(parts, schema.Node, [render.node(view, seen, now_s) for seen in nodes])


async def show_node(parts: Parts, call: Call) -> Answer:
    """One node."""
    view = parts.view
    return json_answer(render.node(view, lookup.node(view, call.params["node"]), parts.wall_s()))


async def remove_node(parts: Parts, call: Call) -> Answer:
    """Remove a node for good, and make invalid the API token that lies on its disk."""
    node = lookup.node(parts.view, call.params["node"])
    parts.remove_node(node.id, call.actor.name, call.argument_int("force", 0, 0, 1) == 1)
    for token in parts.tokens.listed():
        if token.name == node_token(node.name):
            parts.tokens.revoke(token.id)
    return Answer(204)


async def show_keys(parts: Parts, call: Call) -> Answer:
    """How far the replacement of the cluster's key is."""
    return json_answer(_keys(parts))


async def rotate_keys(parts: Parts, call: Call) -> Answer:
    """Begin to replace the cluster's key."""
    parts.keys.rotate(call.argument_int("hurried", 0, 0, 1) == 1)
    return json_answer(_keys(parts), 202)


def _keys(parts: Parts) -> schema.ClusterKeys:
    ring = parts.keys.ring()
    if ring is None:
        raise Refusal(problem(503, "not-yet", "this node has no keys yet", "it is coming to life", "ask another one"))
    known = len(ring.keys)
    return schema.ClusterKeys(known=known, sealing_since=rfc3339(ring.used_ms / 1000), replaced=known == 1)


async def create_join_token(parts: Parts, call: Call) -> Answer:
    """A token with which one node may join, at this node."""
    body = decode(call.body, schema.NewJoinToken)
    issued = parts.join_tokens.create(body.ttl_s, body.dc, body.name)
    answer = schema.JoinToken(
        token=issued.token, expires_at=rfc3339(issued.expires_at_s), command=f"hybrid join {issued.token}"
    )
    return json_answer(answer, 201)


async def list_images(parts: Parts, call: Call) -> Answer:
    """Images on this node, by name."""
    return page(parts, schema.Image, [render.image(held) for held in parts.images.held()])


async def import_image(parts: Parts, call: Call) -> Answer:
    """Import an image from this node's store of built images."""
    body = decode(call.body, schema.NewImage)
    name = image_reference(body.name)

    async def work(progress: Progress) -> dict[str, object]:
        return {"image": await parts.images.import_image(name, progress)}

    begun = parts.operations.start("import", name, None, call.actor.name, work, call.key)
    return json_answer(begun, 202, {"location": f"/v1/operations/{begun.id}"})


async def list_tokens(parts: Parts, call: Call) -> Answer:
    """Tokens, without their secrets."""
    return page(parts, schema.TokenAnswer, parts.tokens.listed())


async def create_token(parts: Parts, call: Call) -> Answer:
    """A token, shown once."""
    body = decode(call.body, schema.NewToken)
    return json_answer(parts.tokens.create(checked_name(body.name, "token"), body.rights), 201)


async def revoke_token(parts: Parts, call: Call) -> Answer:
    """Make a token invalid."""
    token_id = call.params["token"]
    if not parts.tokens.revoke(token_id):
        hint = "`hybrid api GET /v1/tokens` shows them"
        raise Refusal(problem(404, "no-such-token", f"there is no token {shown(token_id)}", "", hint))
    return Answer(204)
