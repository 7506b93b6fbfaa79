"""The Link header of paginated listings (RFC 8288)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urljoin, urlsplit

from atoll.upstream.errors import InvalidContent

# Characters of a header that are parsed; a real one has a few hundred.
_MAXIMUM = 8192


def next_page(headers: Iterable[str], url: str) -> str | None:
    """Return the URL of the next page; None if there is none.

    Args:
        headers: The Link headers of a page.
        url: The URL of that page.

    Raises:
        InvalidContent: The next page is on another server, which must not get the credentials.
    """
    for header in headers:
        for target, parameters in _links(header[:_MAXIMUM]):
            if "next" not in _relations(parameters):
                continue
            try:
                following = urljoin(url, target)
                same = urlsplit(following)[:2] == urlsplit(url)[:2]
            except ValueError as error:
                raise InvalidContent("a listing has a malformed link to its next page") from error
            if not same:
                raise InvalidContent("a listing continues on another server")
            return following
    return None


def _links(header: str) -> Iterator[tuple[str, str]]:
    """Yield the target and the parameters of each link."""
    rest = header
    while True:
        _, opening, rest = rest.partition("<")
        target, closing, rest = rest.partition(">")
        if not opening or not closing:
            return
        parameters, following, after = rest.partition("<")
        yield target, parameters
        rest = following + after


def _relations(parameters: str) -> list[str]:
    """Return the relation types in the parameters of a link, in lower case."""
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip(" \t,").partition("=")
        if name.strip().lower() == "rel":
            return value.strip(' \t"').lower().split()
    return []
