"""The state of the replay server: files in a directory, which servers share as Clairs a database.

manifests/HEX.json         the index report of an image
notifications/UUID.json    the changes that a notification announces
delivered/UUID             marks a notification that the registry accepted
controls.json              the faults that the servers show; see `Controls`
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass
class Controls:
    """What the replay servers do; changed with `State.change`, or in `controls.json`.

    Attributes:
        vulnerability_data: Whether the matcher has data; without, reports are 202.
        tracker: The recorded state of the advisories: 1, 2 or 3.
        database: Whether the database is up; without, responses are as recorded in 170 to 175.
        delay: Seconds that indexing an image takes.
        busy: Whether index requests are refused with 429.
        failures: The numbers of recordings that respond to the next index requests of an image, by
            its digest; those of `*` are for all images.
        indexer_state: The state of the indexer; None for the recorded one.
    """

    vulnerability_data: bool = True
    tracker: int = 1
    database: bool = True
    delay: float = 0.0
    busy: bool = False
    failures: dict[str, list[str]] = field(default_factory=dict)
    indexer_state: str | None = None


class State:
    """Reads and writes the files; each is replaced as a whole."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for name in ("manifests", "notifications", "delivered"):
            (directory / name).mkdir(parents=True, exist_ok=True)

    def controls(self) -> Controls:
        document = self._read("controls.json") or {}
        known = {one.name for one in fields(Controls)}
        return Controls(**{name: value for name, value in document.items() if name in known})

    def change(self, **values: Any) -> None:
        """Change some of the controls."""
        controls = asdict(self.controls()) | values
        self._write("controls.json", asdict(Controls(**controls)))

    def take_failure(self, digest: str) -> str | None:
        """Return the number of the recording that responds to an index request, at most once."""
        controls = self.controls()
        for name in (digest, "*"):
            if numbers := controls.failures.get(name):
                remaining = {**controls.failures, name: numbers[1:]}
                self.change(failures={key: one for key, one in remaining.items() if one})
                return numbers[0]
        return None

    def manifest(self, digest: str) -> dict[str, Any] | None:
        return self._read(_manifest(digest))

    def save_manifest(self, digest: str, report: dict[str, Any]) -> None:
        self._write(_manifest(digest), report)

    def delete_manifest(self, digest: str) -> bool:
        """Delete an index report, and return whether there was one."""
        path = self._directory / _manifest(digest)
        existed = path.exists()
        path.unlink(missing_ok=True)
        return existed

    def notification(self, identifier: str) -> dict[str, Any] | None:
        return self._read(f"notifications/{identifier}.json")

    def notify(self, changes: list[dict[str, Any]], identifier: str | None = None) -> str:
        """Save a notification that announces changes, and return its id."""
        identifier = identifier or str(uuid.uuid4())
        changes = sorted(changes, key=lambda change: str(change["id"]))
        self._write(f"notifications/{identifier}.json", {"notifications": changes})
        return identifier

    def undelivered(self) -> Iterator[str]:
        """Yield the ids of notifications that the registry has not accepted yet."""
        for path in sorted((self._directory / "notifications").glob("*.json")):
            if not (self._directory / "delivered" / path.stem).exists():
                yield path.stem

    def mark_delivered(self, identifier: str) -> None:
        (self._directory / "delivered" / identifier).touch()

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            document: dict[str, Any] = json.loads((self._directory / name).read_text())
        except FileNotFoundError:
            return None
        return document

    def _write(self, name: str, document: dict[str, Any]) -> None:
        path = self._directory / name
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        temporary.write_text(json.dumps(document))
        os.replace(temporary, path)


def _manifest(digest: str) -> str:
    return f"manifests/{digest.removeprefix('sha256:')}.json"
