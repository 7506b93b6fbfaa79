"""Validation of the redirect URIs of OAuth applications."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

# Printable ASCII without spaces and backslashes, which browsers drop or rewrite.
_PLAIN = re.compile(r"[!-\[\]-~]+")
# Schemes that browsers execute instead of opening a page.
_SCRIPTS = frozenset({"javascript", "data", "vbscript"})


def covers(registered: str, uri: str) -> bool:
    """Return whether the registered redirect URI permits sending tokens to `uri`.

    Quay accepts every URI that begins with the registered one. Atoll requires the same scheme, host
    and port, and the registered path or one below it. A registered URI that ends with `?` accepts
    any query.
    """
    if not _is_safe(uri):
        return False
    if uri == registered:
        return True
    try:
        base, asked = urlsplit(registered), urlsplit(uri)
    except ValueError:
        # Registered values are not validated, as in Quay.
        return False
    if not base.netloc or (base.scheme, base.netloc) != (asked.scheme, asked.netloc):
        return False
    if registered.endswith("?"):
        return base.path == asked.path
    return not base.query and asked.path.startswith(f"{base.path.removesuffix('/')}/")


def _is_safe(uri: str) -> bool:
    """Return whether a browser opens `uri` exactly as written.

    Dot segments leave the registered path, user information before `@` disguises the host, and the
    fragment is reserved for the token.
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
