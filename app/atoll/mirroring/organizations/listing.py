"""The repositories that an upstream lists in a namespace, within bounds.

An upstream can send anything. A listing with names outside of the namespace, malformed names or
pages without end is refused as a whole: half of a listing must not look like all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from atoll.names import RepositoryName
from atoll.upstream.errors import EndlessListing, InvalidContent

# Limits of a listing: repositories in the namespace, entries of all pages, and pages.
REPOSITORIES_MAXIMUM = 10_000
ENTRIES_MAXIMUM = 100_000
PAGES_MAXIMUM = 2_000


@dataclass(frozen=True)
class Page:
    """A page of a listing.

    Attributes:
        names: The full names of repositories, with the namespace.
        following: Identifies the next page, and no other page; None after the last page.
    """

    names: list[str]
    following: str | None


class Source(Protocol):
    """Lists the repositories of a registry of some kind, page by page.

    All methods raise UpstreamError.
    """

    # Whether a page may have repositories of other namespaces, which are left out.
    lists_all: bool

    def page(self, position: str | None) -> Page:
        """Return a page.

        Args:
            position: `following` of the page before; None for the first page.
        """
        ...


def list_repositories(
    source: Source, namespace: str, proceed: Callable[[], None] = lambda: None
) -> list[str]:
    """Return the names of the repositories of a namespace, without the namespace, each once.

    Args:
        source: The registry.
        namespace: The namespace, which may have several components.
        proceed: Called before each page; an error that it raises ends the listing.

    Raises:
        EndlessListing: There are too many repositories or pages, or a page repeats another one.
        InvalidContent: A name is malformed or outside of the namespace.
        UpstreamError: A page could not be read.
    """
    found: dict[str, None] = {}
    seen: set[str] = set()
    prefix = f"{namespace}/"
    for page in _pages(source, proceed):
        fresh = [name for name in page.names if name not in seen]
        if page.names and not fresh and page.following is not None:
            raise EndlessListing("the list of repositories repeats itself")
        seen.update(fresh)
        if len(seen) > ENTRIES_MAXIMUM:
            raise EndlessListing(f"the upstream lists more than {ENTRIES_MAXIMUM} repositories")
        for name in fresh:
            if not RepositoryName.fits(name):
                raise InvalidContent(f"the upstream lists a malformed repository {name[:200]!r}")
            if name.startswith(prefix):
                found[name.removeprefix(prefix)] = None
            elif not source.lists_all:
                raise InvalidContent(
                    f"the upstream lists {name[:200]!r}, which is not in '{namespace}'"
                )
        if len(found) > REPOSITORIES_MAXIMUM:
            raise EndlessListing(f"'{namespace}' has more than {REPOSITORIES_MAXIMUM} repositories")
    return list(found)


def _pages(source: Source, proceed: Callable[[], None]) -> Iterator[Page]:
    position: str | None = None
    positions: set[str] = set()
    while True:
        proceed()
        page = source.page(position)
        yield page
        position = page.following
        if position is None:
            return
        if position in positions or len(positions) + 1 >= PAGES_MAXIMUM:
            raise EndlessListing("the list of repositories does not end")
        positions.add(position)


def entries(document: Any, key: str | None, host: str) -> list[Any]:
    """Return the list in a document.

    Args:
        document: The parsed JSON.
        key: The key of the list; None if the document is the list.
        host: The upstream, to name in errors.

    Raises:
        InvalidContent: There is no list.
    """
    found = document if key is None else document.get(key) if isinstance(document, dict) else ()
    if not isinstance(found, list):
        raise InvalidContent(f"'{host}' did not respond with a list of repositories")
    return found


def text(entry: Any, key: str | None, host: str) -> str:
    """Return the text in an entry of a list.

    Args:
        entry: The entry.
        key: The key of the text; None if the entry is the text.
        host: The upstream, to name in errors.

    Raises:
        InvalidContent: There is no text.
    """
    found = entry if key is None else entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(found, str):
        raise InvalidContent(f"'{host}' lists a repository without a name")
    return found
