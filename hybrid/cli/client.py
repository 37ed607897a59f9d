"""Calls to the API over HTTPS, with the standard library. Any node will do: the next is tried when one is away."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple
from urllib.parse import urlsplit

from hybrid.cli.credentials import Credentials
from hybrid.cli.exits import DENIED, TIMEOUT, UNREACHABLE, USAGE, CliError, of_problem
from hybrid.cli.paths import Json, with_query

CONNECT_S = 4.0
PIECE = 256 * 1024
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Response(NamedTuple):
    """An answer that was no problem."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Json:
        """The body as a JSON object. Raises `CliError`."""
        try:
            found = json.loads(self.body)
        except ValueError as error:
            raise CliError("the answer is not JSON", str(error), "is this URL really a Hybrid node's?") from error
        if not isinstance(found, dict):
            raise CliError("the answer is not a JSON object", "", "is this URL really a Hybrid node's?")
        return found


class Client:
    """The API, wherever it can be reached."""

    def __init__(self, credentials: Credentials, timeout_s: float = 90.0, only_reading: bool = False) -> None:
        """With `only_reading`, every call that could change something is refused."""
        self._credentials, self._only_reading = credentials, only_reading
        self._timeout_s = timeout_s
        self._urls = list(credentials.urls)

    def get(self, path: str, /, **query: object) -> Json:
        """GET a JSON object. Arguments that are `None` are left out."""
        return self.call("GET", with_query(path, query)).json()

    def post(self, path: str, body: Json | None = None, /, **query: object) -> Json:
        """POST; tried again on another node under the same `Idempotency-Key`, so nothing is done twice."""
        return self.call("POST", with_query(path, query), body or {}).json()

    def call(self, method: str, path: str, body: object = None, raw: bytes | None = None) -> Response:
        """
        One call, to the first node that can be reached.

        Raises:
            CliError: The API's problem; or no node can be reached; or none answered in time.
        """
        if self._only_reading and method != "GET":
            raise CliError("this changes something, and is not done again and again", "", "leave out --watch", USAGE)
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        headers = self._headers("application/json")
        if data:
            headers["Content-Type"] = "application/json"
        if method == "POST":
            headers["Idempotency-Key"] = os.urandom(16).hex()
        connection, answer = self._first(method, path, data, headers)
        try:
            response = Response(answer.status, _lower(answer), answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise _broke_off(error) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise _problem(response)
        return response

    def stream(self, path: str) -> Iterator[bytes]:
        """GET content of any size, piece by piece. Raises `CliError` as `call`, also when it breaks off on the way."""
        connection, answer = self._first("GET", path, b"", self._headers("*/*"))
        try:
            if answer.status >= 400:
                raise _problem(Response(answer.status, _lower(answer), answer.read()))
            while data := answer.read(PIECE):
                yield data
        except (OSError, http.client.HTTPException) as error:
            raise _broke_off(error) from error
        finally:
            connection.close()

    def _headers(self, accept: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._credentials.token}", "Accept": accept}

    def events(self, last_id: str, since: int) -> Iterator[tuple[str, Json]]:
        """
        `(id, event)` as they happen, after the one with `last_id`, until the connection ends.

        Args:
            since: With no `last_id` yet: after the event of this number on the node that answered last.

        Raises:
            CliError: As `call`.
        """
        headers = self._headers("text/event-stream")
        if last_id:
            headers["Last-Event-ID"] = last_id
        path = "/v1/events" if last_id else f"/v1/events?since={since}"
        connection, answer = self._first("GET", path, b"", headers)
        try:
            if answer.status >= 400:
                raise _problem(Response(answer.status, _lower(answer), answer.read()))
            yield from _server_sent(answer)
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def _first(
        self, method: str, path: str, data: bytes, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send to each URL in turn until one answers; that one is asked first from then on."""
        failures: list[str] = []
        for url in list(self._urls):
            try:
                found = self._send(url, method, path, data, headers)
            except TimeoutError as error:
                failures.append(f"{url}: {_text(error)}")
                if str(error) == _NO_ANSWER:
                    hint = "it may have been carried out all the same: look before you try again"
                    raise CliError(f"no answer in {self._timeout_s:.0f} s", url, hint, TIMEOUT) from error
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{url}: {_text(error)}")
            else:
                self._urls.remove(url)
                self._urls.insert(0, url)
                return found
        hint = "is the node up (`systemctl status hybrid-node`), and the address in the credentials still right?"
        raise CliError("no node can be reached", "; ".join(failures), hint, UNREACHABLE)

    def _send(
        self, url: str, method: str, path: str, data: bytes, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self._connection(url)
        try:
            connection.connect()
            assert connection.sock is not None
            connection.sock.settimeout(self._timeout_s)
            connection.request(method, path, data, headers)
            try:
                return connection, connection.getresponse()
            except TimeoutError as error:
                raise TimeoutError(_NO_ANSWER) from error
        except BaseException:
            connection.close()
            raise

    def _connection(self, url: str) -> http.client.HTTPConnection:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            return http.client.HTTPSConnection(host, parts.port, timeout=CONNECT_S, context=self._tls)
        if parts.scheme == "http" and host in _LOOPBACK:
            return http.client.HTTPConnection(host, parts.port, timeout=CONNECT_S)
        raise CliError(f"{url} is not a URL for a token", "it must begin with https://", "correct it", DENIED)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Trusts the cluster's authority and nobody else."""
        try:
            return ssl.create_default_context(cadata=self._credentials.ca or None)
        except ssl.SSLError as error:
            raise CliError(
                "the credentials hold no certificate", str(error), "copy admin.json again", DENIED
            ) from error


_NO_ANSWER = "no answer in time"


def _server_sent(lines: http.client.HTTPResponse) -> Iterator[tuple[str, Json]]:
    """Events in a `text/event-stream`."""
    last_id, data = "", ""
    while line := lines.readline():
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        name, _, value = text.partition(": ")
        if name == "id":
            last_id = value
        elif name == "data":
            data += value
        elif not text and data:
            event = json.loads(data)
            data = ""
            if event:
                yield last_id, event


def _broke_off(error: Exception) -> CliError:
    return CliError("the answer broke off", _text(error), "try again", UNREACHABLE)


def _problem(response: Response) -> CliError:
    """The problem in an answer, whatever its form."""
    try:
        problem = json.loads(response.body)
    except ValueError:
        problem = {}
    return of_problem(problem if isinstance(problem, dict) else {}, response.status)


def _lower(answer: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.getheaders()}


def _text(error: BaseException) -> str:
    """An error as a person reads it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not of this cluster ({error.verify_message})"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
