"""Clair's protocol as it was recorded: authentication, statuses, bodies and their order."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import jwt

# Relative, because the directory stands alone in a container image.
from . import images
from .answers import Answer, Request, document, etag, json_answer, recorded
from .layers import fetch_failure
from .notifications import is_uuid, page_of
from .state import Controls, State

_ISSUERS = frozenset({"quay", "clairctl", "clair-intraservice"})
_ALGORITHMS = ["HS256", "HS384", "HS512"]
_LEEWAY = 15
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_INDEX_REPORT = "/indexer/api/v1/index_report"
_ERROR = 400
_SCAN_FAILED = "failed to start scan: "


class Clair:
    """Answers requests; thread-safe."""

    def __init__(
        self,
        state: State,
        key: Callable[[], bytes | None],
        *,
        stopped: threading.Event,
        concurrent: int,
        fetches: Callable[[], bool],
    ) -> None:
        """Make it.

        Args:
            state: What it knows.
            key: Returns the key; None to accept any request.
            stopped: Is set when the server stops.
            concurrent: The number of images that are indexed at once.
            fetches: Returns whether layers are fetched.
        """
        self._state = state
        self._key = key
        self._stopped = stopped
        self._slots = threading.Semaphore(concurrent)
        self._fetches = fetches
        self._paths: dict[str, Callable[[Request, Controls], Answer | None]] = {
            "/indexer/api/v1/index_state": self._index_state,
            _INDEX_REPORT: self._index_reports,
        }
        self._directories: dict[str, Callable[[Request, str, Controls], Answer]] = {
            _INDEX_REPORT: self._index_report,
            "/matcher/api/v1/vulnerability_report": self._vulnerability_report,
            "/notifier/api/v1/notification": self._notification,
        }

    def answer(self, request: Request) -> Answer | None:
        """Return the response to a request; None to close the connection without one."""
        path = unquote(urlsplit(request.target).path)
        if path == "/robots.txt":
            return recorded("34")
        if not self._is_authentic(request.headers.get("authorization", "")):
            return recorded("20")
        controls = self._state.controls()
        if (whole := self._paths.get(path)) is not None:
            return whole(request, controls)
        directory, _, name = path.rpartition("/")
        if (below := self._directories.get(directory)) is not None:
            return below(request, name, controls)
        return recorded("33")

    def _is_authentic(self, authorization: str) -> bool:
        key = self._key()
        if key is None:
            return True
        try:
            claims = jwt.decode(
                authorization.removeprefix("Bearer "),
                key,
                algorithms=_ALGORITHMS,
                leeway=_LEEWAY,
                options={"verify_aud": False},
            )
        except jwt.InvalidTokenError:
            return False
        return claims.get("iss") in _ISSUERS

    def _index_state(self, request: Request, controls: Controls) -> Answer:
        if request.headers.get("if-none-match") == etag(controls):
            return Answer(304, (("Etag", etag(controls)),), is_chunked=False)
        state = etag(controls).strip('"')
        return json_answer(200, {"state": state}, ("Etag", etag(controls)))

    def _index_reports(self, request: Request, controls: Controls) -> Answer | None:
        if request.method == "DELETE":
            return self._delete_all(request, controls)
        if request.method != "POST":
            return recorded("46")
        if controls.busy or not self._slots.acquire(blocking=False):
            return recorded("86")
        try:
            return self._index(request, controls)
        finally:
            self._slots.release()

    def _index(self, request: Request, controls: Controls) -> Answer | None:
        is_current = request.headers.get("if-none-match") == etag(controls)
        if (number := "12" if is_current else _flaw(request.body)) is not None:
            return recorded(number)
        manifest = json.loads(request.body)
        digest, layers = manifest["hash"], manifest["layers"]
        if not controls.database:
            self._wait_for_database(request)
            return None
        if (number := self._state.take_failure(digest)) is not None:
            return self._failed(digest, recorded(number))
        known = self._state.manifest(digest)
        if known is not None and known["state"] == "IndexFinished":
            return _indexed(known, controls)
        return self._scan(request, digest, layers, controls)

    def _scan(
        self, request: Request, digest: str, layers: list[dict[str, Any]], controls: Controls
    ) -> Answer | None:
        self._state.save_manifest(digest, {**document("83"), "manifest_hash": digest})
        self._stopped.wait(controls.delay)
        failure = fetch_failure(layers) if self._fetches() else None
        if _is_abandoned(request.connection):
            return None
        if failure is not None:
            error = {"code": "internal-error", "message": _SCAN_FAILED + failure}
            return self._failed(digest, json_answer(500, error))
        report = images.index_report(digest, [layer["hash"] for layer in layers])
        self._state.save_manifest(digest, report)
        return _indexed(report, controls)

    def _wait_for_database(self, request: Request) -> None:
        while not self._stopped.wait(0.05) and not self._state.controls().database:
            if _is_abandoned(request.connection):
                return

    def _failed(self, digest: str, answer: Answer) -> Answer:
        """Save the report of an image that could not be indexed."""
        if answer.status >= _ERROR and answer.is_complete and answer.body:
            message = json.loads(answer.body)["message"].removeprefix(_SCAN_FAILED)
            report = {**document("51"), "manifest_hash": digest, "err": message}
            self._state.save_manifest(digest, report)
        return answer

    def _delete_all(self, request: Request, controls: Controls) -> Answer:
        if controls.busy:
            return recorded("88")
        try:
            digests = json.loads(request.body)
        except ValueError:
            digests = None
        if not isinstance(digests, list) or not all(_DIGEST.fullmatch(one) for one in digests):
            return recorded("127")
        deleted = [one for one in digests if self._state.delete_manifest(one)]
        return json_answer(200, deleted or None, content_type="text/plain; charset=utf-8")

    def _index_report(self, request: Request, digest: str, controls: Controls) -> Answer:
        if not _DIGEST.fullmatch(digest):
            return recorded("37")
        if request.method == "DELETE":
            if not controls.database:
                return recorded("174")
            self._state.delete_manifest(digest)
            return recorded("120")
        if request.headers.get("if-none-match") == etag(controls):
            return recorded("10")
        report = self._state.manifest(digest)
        if report is None or not controls.database:
            return recorded("35")
        return json_answer(
            200,
            report,
            ("Etag", etag(controls)),
            content_type="application/vnd.clair.index_report.v1+json",
        )

    def _vulnerability_report(self, request: Request, digest: str, controls: Controls) -> Answer:
        if not _DIGEST.fullmatch(digest):
            return recorded("38")
        if not controls.database:
            return recorded("172")
        if not controls.vulnerability_data:
            return recorded("02")
        index = self._state.manifest(digest)
        if index is None or index["state"] != "IndexFinished":
            message = f'index report for manifest "{digest}" not found'
            return json_answer(404, {"code": "not-found", "message": message})
        answer = json_answer(
            200,
            images.vulnerability_report(index, controls.tracker),
            ("Cache-Control", "max-age=90"),
            content_type="application/vnd.clair.index_report.v1+json",
        )
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return answer
        headers = (*answer.headers, ("Content-Encoding", "gzip"))
        return Answer(200, headers, gzip.compress(answer.body, 1))

    def _notification(self, request: Request, identifier: str, controls: Controls) -> Answer:
        if not is_uuid(identifier):
            return recorded("109")
        if not controls.database:
            return recorded("175")
        notification = self._state.notification(identifier)
        if request.method == "DELETE":
            if notification is None:
                return recorded("117")
            # Its pages stay readable for a while.
            return recorded("114")
        return page_of(notification, urlsplit(request.target).query)


def _flaw(body: bytes) -> str | None:
    """Return the number of the recording that responds to a malformed manifest."""
    try:
        manifest = json.loads(body)
    except ValueError:
        return "39"
    digest, layers = manifest.get("hash"), manifest.get("layers")
    if not digest or not layers:
        return "41" if layers else "40"
    if not _DIGEST.fullmatch(digest):
        return "42"
    if not all(_DIGEST.fullmatch(layer["hash"]) for layer in layers):
        return "43"
    return None


def _indexed(report: dict[str, Any], controls: Controls) -> Answer:
    location = ("Location", f"{_INDEX_REPORT}/{report['manifest_hash']}")
    return json_answer(
        201, report, ("Etag", etag(controls)), location, content_type="text/plain; charset=utf-8"
    )


def _is_abandoned(connection: socket.socket) -> bool:
    """Return whether the client closed its connection."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
