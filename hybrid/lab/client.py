"""What the lab needs of the cluster's API: calls to one node, operations waited for. Synchronous."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hybrid.lab.command import LabError

Json = dict[str, Any]


class ApiError(LabError):
    """A call was answered with an error, or not at all (`status` 0)."""

    def __init__(self, what: str, why: str = "", try_: str = "", status: int = 0) -> None:
        super().__init__(what, why, try_)
        self.status = status


class Api:
    """
    The API as one node answers it.

    Args:
        address: The node's.
        token: An administrator's.
        authority: The cluster's certificate, PEM.
        port: Of the API.
    """

    def __init__(self, address: str, token: str, authority: str, port: int = 8443) -> None:
        self.address, self._token, self._port = address, token, port
        self._tls = ssl.create_default_context(cadata=authority)
        self._tls.check_hostname = False

    @classmethod
    def from_credentials(cls, path: Path, address: str) -> Api:
        """With what `hybrid init` wrote."""
        credentials = json.loads(path.read_text())
        return cls(address, credentials["token"], credentials["ca"])

    def fetch(self, method: str, path: str, body: Json | None = None, deadline_s: float = 30.0) -> bytes:
        """
        The body of the answer.

        Raises:
            ApiError: Any status but 2xx (with the problem's title and detail), or no answer.
        """
        connection = http.client.HTTPSConnection(self.address, self._port, timeout=deadline_s, context=self._tls)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        try:
            connection.request(method, "/v1" + path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(f"{method} {path} at {self.address} was not answered", str(error)) from error
        finally:
            connection.close()
        if answer.status >= 300:
            raise _refused(method, path, answer.status, content)
        return content

    def call(self, method: str, path: str, body: Json | None = None, deadline_s: float = 30.0) -> Json:
        """The JSON object in the answer. Raises `ApiError`."""
        content = self.fetch(method, path, body, deadline_s)
        try:
            answer: Json = json.loads(content or b"{}")
        except ValueError as error:
            raise ApiError(f"{method} {path} was not answered with JSON", str(error)) from error
        return answer

    def items(self, path: str) -> list[Json]:
        """The items of a list."""
        return list(self.call("GET", path)["items"])

    def site(self, name: str) -> Json:
        """A site, as this node sees it."""
        return self.call("GET", f"/sites/{name}")

    def perform(self, path: str, body: Json, deadline_s: float = 120.0) -> Json:
        """
        Begin an operation and wait for its end.

        Returns:
            The operation, `done`.

        Raises:
            ApiError: It was refused, failed, or did not end in time.
        """
        operation = self.call("POST", path, body)
        end_s = time.monotonic() + deadline_s
        while operation["state"] == "running":
            if time.monotonic() > end_s:
                raise ApiError(f"{operation['kind']} ({operation['id']}) did not end", f"waited {deadline_s:.0f} s")
            operation = self.call("GET", f"/operations/{operation['id']}?wait=10")
        if operation["state"] != "done":
            error = operation.get("error") or {}
            why = f"{error.get('title', operation['state'])}: {error.get('detail', '')}"
            raise ApiError(f"{operation['kind']} of {operation.get('site_name')} failed", why, error.get("hint", ""))
        return operation

    def execute(self, site: str, argv: Sequence[str], stdin: str = "") -> str:
        """Standard output of a command in the site's container. Raises `ApiError` when it ends with another status."""
        result = self.call("POST", f"/sites/{site}/exec", {"argv": list(argv), "stdin": stdin}, 75.0)
        if result["status"]:
            raise ApiError(f"`{' '.join(argv)}` in {site} ended with status {result['status']}", result["stderr"])
        return str(result["stdout"])

    def stash_file(self, site: str, stash: str, path: str) -> bytes | None:
        """A file as it is in a stash; `None` when it is not there."""
        try:
            return self.fetch("GET", f"/sites/{site}/files?snapshot={quote(stash)}&path={quote(path)}", deadline_s=60.0)
        except ApiError as error:
            if error.status == 404:
                return None
            raise


def _refused(method: str, path: str, status: int, content: bytes) -> ApiError:
    """The error in a problem document (RFC 9457), or in whatever came instead."""
    try:
        problem = json.loads(content)
        title, detail, hint = (str(problem.get(key, "")) for key in ("title", "detail", "hint"))
    except (ValueError, AttributeError):
        title, detail, hint = content[:200].decode(errors="replace"), "", ""
    return ApiError(f"{method} {path}: {status}", ": ".join(part for part in (title, detail) if part), hint, status)
