"""Where an OAuth application may have its tokens sent."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

# No spaces, control characters and backslashes: browsers drop or rewrite them.
_PLAIN = re.compile(r"[!-\[\]-~]+")
# A browser would run these instead of opening a page.
_SCRIPTS = frozenset({"javascript", "data", "vbscript"})


def covers(registered: str, uri: str) -> bool:
    """Return whether tokens for an application may be sent to `uri`.

    Quay accepts every URI that begins with the registered one. Here the scheme, host and port have
    to be the same, and the path the registered one or below it. A registered URI that ends with
    `?` accepts any query.
    """
    if not _is_safe(uri):
        return False
    if uri == registered:
        return True
    try:
        base, asked = urlsplit(registered), urlsplit(uri)
    except ValueError:
        # What an administrator registered may be no URI.
        return False
    if not base.netloc or (base.scheme, base.netloc) != (asked.scheme, asked.netloc):
        return False
    if registered.endswith("?"):
        return base.path == asked.path
    return not base.query and asked.path.startswith(f"{base.path.removesuffix('/')}/")


def _is_safe(uri: str) -> bool:
    """Return whether a browser opens `uri` as it is written.

    Dot segments would lead out of the registered path, a name before `@` hides the host, and the
    fragment is where the token goes.
    """
    if not _PLAIN.fullmatch(uri) or "#" in uri:
        return False
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    if not parts.scheme or parts.scheme in _SCRIPTS or "@" in parts.netloc:
        return False
    return not {".", ".."} & set(re.split(r"[/\\]", unquote(parts.path)))
