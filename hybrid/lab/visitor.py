"""Visitors of a site: plain HTTP through one node, with the deadlines of a patient person. Synchronous."""

from __future__ import annotations

import http.client
from urllib.parse import urlencode

CONNECT_S = 3.0
PATIENCE_S = 30.0
"""A front door may hold a request while the owner changes."""


class Unanswered(Exception):
    """No answer, or one with another status than 2xx."""


def visit(
    address: str, host: str, path: str = "/", form: dict[str, str] | None = None, patience_s: float = PATIENCE_S
) -> str:
    """
    The body behind `path` of the site `host`, asked for at the node `address`; a `form` is posted.

    Args:
        patience_s: So long it waits for each piece of the answer.

    Raises:
        Unanswered: With the reason.
    """
    connection = http.client.HTTPConnection(address, 80, timeout=min(CONNECT_S, patience_s))
    headers = {"Host": host}
    try:
        connection.connect()
        connection.sock.settimeout(patience_s)
        if form is None:
            connection.request("GET", path, headers=headers)
        else:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            connection.request("POST", path, urlencode(form), headers)
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise Unanswered(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if not 200 <= answer.status < 300:
        raise Unanswered(f"status {answer.status}: {body[:200]}")
    return body
