"""Static files of the panel, under names that contain a hash of their content.

A name never gets another content, so browsers keep the files without asking again. nginx serves
them (`server/nginx.py`); `StaticFileResource` does so where there is no nginx.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import falcon

PREFIX = "/panel/static/"
HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_DIRECTORY = Path(__file__).parent / "static"
# Debian's package libjs-htmx. Without it, pages have no live updates.
_HTMX = Path("/usr/share/javascript/htmx/htmx.min.js")
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HASH_LENGTH = 16


@dataclass(frozen=True)
class StaticFile:
    """A static file.

    Attributes:
        file: Its place on disk.
        path: Its path in URLs.
        content_type: Its media type.
    """

    file: Path
    path: str
    content_type: str


class StaticFiles:
    """The static files by name, such as `panel.css`."""

    def __init__(self, files: list[Path]) -> None:
        self._files = {file.name: _described(file) for file in files}

    @classmethod
    def installed(cls) -> StaticFiles:
        """Return the files of this package and, if it is installed, htmx."""
        own = sorted(file for file in _DIRECTORY.iterdir() if file.suffix in _TYPES)
        return cls([*own, *([_HTMX] if _HTMX.exists() else [])])

    def __iter__(self) -> Iterator[StaticFile]:
        """Iterate over the files."""
        return iter(self._files.values())

    def __contains__(self, name: object) -> bool:
        """Return whether there is a file of this name."""
        return name in self._files

    def path(self, name: str) -> str:
        """Return the path of a file in URLs. Raises KeyError if there is no such file."""
        return self._files[name].path


class StaticFileResource:
    """`/panel/static/{file}`."""

    def __init__(self, files: StaticFiles) -> None:
        self._content = {
            one.path.removeprefix(PREFIX): (one.content_type, one.file.read_bytes())
            for one in files
        }

    def on_get(self, req: falcon.Request, resp: falcon.Response, file: str) -> None:
        """Send a file. Raises HTTPRouteNotFound for an unknown name or an outdated hash."""
        del req
        if file not in self._content:
            raise falcon.HTTPRouteNotFound
        resp.content_type, resp.data = self._content[file]
        resp.set_headers(HEADERS)


def _described(file: Path) -> StaticFile:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:_HASH_LENGTH]
    return StaticFile(file, f"{PREFIX}{file.stem}.{digest}{file.suffix}", _TYPES[file.suffix])
