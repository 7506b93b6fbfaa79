"""An upload that stays in progress until a test lets it end."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

import requests


class SlowUpload(threading.Thread):
    """An upload whose last piece is sent only when the event `go_on` is set."""

    def __init__(self, session: requests.Session, location: str) -> None:
        super().__init__()
        self._session = session
        self._location = location
        self._pieces = [b"a" * 1_000_000, b"b" * 1_000_000]
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.answer: requests.Response | None = None

    def _body(self) -> Iterator[bytes]:
        yield self._pieces[0]
        self.begun.set()
        self.go_on.wait()
        yield self._pieces[1]

    def run(self) -> None:
        digest = hashlib.sha256(b"".join(self._pieces)).hexdigest()
        self.answer = self._session.put(
            self._location, params={"digest": f"sha256:{digest}"}, data=self._body()
        )
