"""The navigation between the pages for operators."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.web.panel.api_calls import ApiCalls

# Each page with its name, and the operation of the API without which it does not exist.
_PAGES = (
    ("/superuser", "Sites", "/superuser/health"),
    ("/superuser/replication", "Replication", "/superuser/replication"),
    ("/superuser/mirrors", "Mirrors", "/superuser/mirrors"),
    ("/superuser/verification", "Verification", "/superuser/verification"),
    ("/superuser/garbage", "Garbage", "/superuser/garbage"),
    ("/superuser/users", "Users", "/superuser/users"),
    ("/superuser/organizations", "Organizations", "/superuser/organizations"),
    ("/superuser/messages", "Messages", "/messages"),
    ("/superuser/logs", "Log", "/superuser/logs"),
    ("/superuser/guarantees", "Guarantees", "/superuser/guarantees"),
    ("/superuser/config", "Configuration", "/superuser/instances"),
)


@dataclass(frozen=True)
class NavigationItem:
    """A link of the navigation.

    Attributes:
        path: The path of the page.
        text: Its name.
        current: The value of `aria-current`: `page`, `true` for a page below it, or empty.
    """

    path: str
    text: str
    current: str


def operator_navigation(calls: ApiCalls, path: str) -> list[NavigationItem]:
    """Return the links to the pages for operators, one of which is current.

    Args:
        calls: The operations of the API; pages of disabled features are left out.
        path: The path of the page that has the navigation.
    """
    here = path.rstrip("/")
    pages = [(page, text) for page, text, operation in _PAGES if calls.serves(operation)]
    above = max((page for page, _text in pages if f"{here}/".startswith(f"{page}/")), key=len)
    return [NavigationItem(page, text, _current(page, above, here)) for page, text in pages]


def _current(page: str, above: str, here: str) -> str:
    if page != above:
        return ""
    return "page" if page == here else "true"
