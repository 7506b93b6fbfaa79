"""Answers to live parts of pages that are current, without authenticating the caller each time.

Open pages request their live parts every few seconds, most of them in vain. If this process has
authenticated the same session for the same page in the last half minute, such a request runs only
the operation of the API that finds out whether anything changed. Any other request is
authenticated, so a caller whose session or permission has ended learns at most that nothing has
changed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import falcon

from atoll.web.api.cookies import COOKIE

_SECONDS = 30.0
# Pages that are remembered, the latest ones.
_MAXIMUM = 1000


@dataclass(frozen=True)
class _Poll:
    tag: str
    current: Callable[[], str]
    ends: float


class Polls:
    """The open pages of this process, by session cookie and address."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Make the memory; `monotonic` is its clock, in seconds."""
        self._polls: dict[tuple[str, str], _Poll] = {}
        self._monotonic = monotonic
        self._lock = threading.Lock()

    def remember(self, req: falcon.Request, version: str, current: Callable[[], str]) -> str:
        """Remember the version of a page whose caller has been authenticated.

        Args:
            req: The request for the page.
            version: The version of its live parts.
            current: Returns their current version, with the permissions of the caller.

        Returns:
            The version as an ETag.
        """
        tag, now = f'"{version}"', self._monotonic()
        cookie = req.cookies.get(COOKIE)
        if cookie is not None:
            key = (cookie, req.relative_uri)
            with self._lock:
                self._polls.pop(key, None)
                self._polls[key] = _Poll(tag, current, now + _SECONDS)
                self._forget(now)
        return tag

    def answer(self, req: falcon.Request, resp: falcon.Response) -> bool:
        """Answer 304 to a request for a page that is current, and return whether this was done.

        Raises:
            Exception: The operation that finds the version failed, as for a page.
        """
        sent = req.get_header("If-None-Match")
        if sent is None or req.method != "GET":
            return False
        poll = self._polls.get((req.cookies.get(COOKIE, ""), req.relative_uri))
        if poll is None or poll.tag != sent or self._monotonic() >= poll.ends:
            return False
        if f'"{poll.current()}"' != sent:
            return False
        resp.status = falcon.HTTP_NOT_MODIFIED
        resp.set_header("ETag", sent)
        resp.complete = True
        return True

    def _forget(self, now: float) -> None:
        """Forget pages that are closed, and the oldest of too many. They are in order of time."""
        while self._polls:
            oldest = next(iter(self._polls))
            if self._polls[oldest].ends > now and len(self._polls) <= _MAXIMUM:
                break
            del self._polls[oldest]
