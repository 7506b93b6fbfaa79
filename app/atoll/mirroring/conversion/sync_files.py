"""Mirrors in the configuration files of skopeo sync and regsync."""

from __future__ import annotations

from datetime import datetime

from atoll.mirroring.conversion.entries import SyncEntry
from atoll.mirroring.conversion.regsync import Regsync
from atoll.mirroring.conversion.skopeo_sync import skopeo_entries
from atoll.mirroring.conversion.yaml_nodes import compose


def read_sync_file(text: str, now: datetime) -> list[SyncEntry]:
    """Return the entries of a file of skopeo sync or regsync, in the order of the file.

    Args:
        text: the content of the file.
        now: the current time.

    Raises:
        UserError: the text is neither.
    """
    root = compose(text)
    keys = {str(key.value) for key, _value in root.value}
    if "sync" in keys:
        return list(Regsync(root, now).entries())
    return list(skopeo_entries(root))
