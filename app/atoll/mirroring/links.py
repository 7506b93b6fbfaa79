"""The Link header of paginated listings (RFC 8288)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urljoin, urlsplit

from atoll.mirroring.errors import InvalidContent

_LINK = re.compile(r"\s*<([^>]*)>([^,]*)(?:,|$)")
_NEXT = re.compile(r';\s*rel\s*=\s*"?(?:[^";]*\s)?next(?:\s[^";]*)?"?\s*(?:;|$)', re.IGNORECASE)


def next_page(headers: Iterable[str], url: str) -> str | None:
    """Return the URL of the next page; None if there is none.

    Args:
        headers: The Link headers of a page.
        url: The URL of that page.

    Raises:
        InvalidContent: The next page is on another server, which must not get the credentials.
    """
    for header in headers:
        for target, parameters in _LINK.findall(header):
            if not _NEXT.search(parameters):
                continue
            try:
                following = urljoin(url, target)
                same = urlsplit(following)[:2] == urlsplit(url)[:2]
            except ValueError as error:
                raise InvalidContent("a listing has a malformed link to its next page") from error
            if not same:
                raise InvalidContent("a listing continues on another server")
            return str(following)
    return None
