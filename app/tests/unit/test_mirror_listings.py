"""Repositories of a namespace are listed at Quay, Harbor and any registry, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from atoll.mirroring.organizations import listing
from atoll.mirroring.organizations.listing import Page, list_repositories
from atoll.mirroring.organizations.sources import SOURCES
from atoll.upstream.access import Access
from atoll.upstream.credentials import Credentials
from atoll.upstream.documents import DOCUMENT_MAXIMUM
from atoll.upstream.errors import (
    AuthFailed,
    EndlessListing,
    InvalidContent,
    NotFound,
    RateLimited,
    ServerFailed,
    TooLarge,
    UpstreamError,
)
from atoll.upstream.reference import UpstreamReference

from ..upstream import fault_upstream as faults
from ..upstream import listings
from ..upstream.certificates import PrivateCa
from ..upstream.clients import USER, upstreams
from ..upstream.fault_upstream import Answer, FaultUpstream, Listing

KINDS: dict[str, Listing] = {
    "quay": listings.quay,
    "harbor": listings.harbor,
    "oci": listings.catalog,
}
ROBOT = Credentials("$oauthtoken", listings.TOKEN)


@pytest.fixture
def found(ca: PrivateCa, upstream: FaultUpstream) -> Callable[..., list[str]]:
    """List the repositories of `team`."""

    def find(
        kind: str, credentials: Credentials | None = None, namespace: str = "team"
    ) -> list[str]:
        reference = UpstreamReference.parse(f"{upstream.host}/{namespace}")
        documents = upstreams(ca).documents(reference, Access(credentials))
        return list_repositories(SOURCES[kind](documents, namespace, credentials), namespace)

    return find


def fill(upstream: FaultUpstream, kind: str, *names: str) -> None:
    upstream.listing = KINDS[kind]
    for name in names:
        upstream.repository(name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2, 100])
def test_all_pages_are_read(
    upstream: FaultUpstream, found: Callable[..., list[str]], kind: str, size: int
) -> None:
    upstream.oddities.page_size = size
    names = ["app", "base/alpine", "base/debian", "web", "web-2"]
    fill(upstream, kind, "other/app", "teams/app", *(f"team/{name}" for name in names))
    assert found(kind) == names


def test_a_token_of_quay_is_its_password(
    upstream: FaultUpstream, found: Callable[..., list[str]]
) -> None:
    fill(upstream, "quay", "team/app")
    assert found("quay", ROBOT) == ["app"]
    with pytest.raises(AuthFailed):
        found("quay", USER)


def test_harbor_accepts_a_password(
    upstream: FaultUpstream, found: Callable[..., list[str]]
) -> None:
    upstream.users[USER.username] = USER.password
    fill(upstream, "harbor", "team/app")
    assert found("harbor", USER) == ["app"]
    with pytest.raises(AuthFailed):
        found("harbor", ROBOT)


@pytest.mark.parametrize("authentication", ["basic", "bearer"])
def test_a_catalog_may_require_a_login(
    upstream: FaultUpstream, found: Callable[..., list[str]], authentication: str
) -> None:
    upstream.users[USER.username] = USER.password
    upstream.oddities.authentication = authentication
    fill(upstream, "oci", "team/deep/app", "team/app", "deep/app")
    assert found("oci", USER, "team/deep") == ["app"]
    with pytest.raises(AuthFailed):
        found("oci")


def test_an_unknown_project_of_harbor_is_not_an_empty_one(
    upstream: FaultUpstream, found: Callable[..., list[str]]
) -> None:
    fill(upstream, "harbor", "other/app")
    with pytest.raises(NotFound):
        found("harbor")


def quay_names(*names: tuple[str, str]) -> bytes:
    entries = [{"namespace": namespace, "name": name} for namespace, name in names]
    return json.dumps({"repositories": entries}).encode()


def harbor_names(*names: object) -> bytes:
    return json.dumps([{"name": name} for name in names]).encode()


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        ("quay", quay_names(("team", "app"), ("victim", "app")), InvalidContent),
        ("quay", quay_names(("team", "../victim/app")), InvalidContent),
        ("quay", quay_names(("team", "App\n")), InvalidContent),
        ("quay", b'{"repositories": [{"namespace": "team"}]}', InvalidContent),
        ("quay", b'{"repositories": {}}', InvalidContent),
        ("quay", b'{"repositories": [], "next_page": ["x"]}', InvalidContent),
        ("quay", b"[]", InvalidContent),
        ("quay", b"<html>", InvalidContent),
        ("quay", b"[" * 100_000, TooLarge),
        ("oci", b'{"repositories": [' + b"{}," * 1_000_000 + b"{}]}", TooLarge),
        ("harbor", harbor_names("app"), InvalidContent),
        ("harbor", harbor_names("team/app", "teams/app"), InvalidContent),
        ("harbor", harbor_names(None), InvalidContent),
        ("harbor", b'{"name": "team/app"}', InvalidContent),
        ("oci", b'{"repositories": ["team/app", "team/%2e%2e"]}', InvalidContent),
        ("oci", b'{"repositories": [7]}', InvalidContent),
        ("oci", b" " * (DOCUMENT_MAXIMUM + 1), TooLarge),
    ],
)
def test_a_listing_with_one_wrong_entry_is_refused(
    upstream: FaultUpstream,
    found: Callable[..., list[str]],
    kind: str,
    body: bytes,
    error: type[UpstreamError],
) -> None:
    upstream.listing = lambda *_: Answer(body)
    with pytest.raises(error):
        found(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_on_a_later_page_fails_the_listing(
    upstream: FaultUpstream, found: Callable[..., list[str]], kind: str
) -> None:
    upstream.oddities.page_size = 1
    fill(upstream, kind, "team/a", "team/b", "team/c")
    upstream.fail("listing", faults.status(500), after=2)
    with pytest.raises(ServerFailed):
        found(kind)
    upstream.recover()
    upstream.fail("listing", faults.too_many_requests("20"), after=1)
    with pytest.raises(RateLimited):
        found(kind)


def test_an_api_that_redirects_elsewhere_does_not_get_the_token(
    ca: PrivateCa, upstream: FaultUpstream, found: Callable[..., list[str]]
) -> None:
    with FaultUpstream(ca.server_context()).running() as other:
        other.listing = listings.quay
        upstream.fail(
            "listing", faults.status(307, Location=f"{other.url}/api/v1/repository?namespace=team")
        )
        with pytest.raises(InvalidContent, match="redirects"):
            found("quay", ROBOT)
        assert all("authorization" not in one.headers for one in other.requests)


def test_null_is_an_empty_catalog(upstream: FaultUpstream, found: Callable[..., list[str]]) -> None:
    upstream.listing = lambda *_: Answer(b'{"repositories": null}')
    assert found("oci") == []


class Pages:
    """A source that an upstream without limits could be."""

    lists_all = True

    def __init__(self, page: Callable[[int], Page]) -> None:
        self._page = page

    def page(self, position: str | None) -> Page:
        return self._page(int(position or "0"))


@pytest.mark.parametrize(
    "page",
    [
        lambda number: Page([], str(number + 1)),
        lambda number: Page(["team/app"], str(number + 1)),
        lambda number: Page([f"team/app-{number}"], "1"),
        lambda number: Page([f"team/{number}/{one}" for one in range(10)], str(number + 1)),
        lambda number: Page([f"other/{number}/{one}" for one in range(10)], str(number + 1)),
    ],
    ids=["empty pages", "same page", "same position", "too many", "too many elsewhere"],
)
def test_an_endless_listing_ends(
    monkeypatch: pytest.MonkeyPatch, page: Callable[[int], Page]
) -> None:
    for name, value in [("REPOSITORIES", 50), ("ENTRIES", 70), ("PAGES", 90)]:
        monkeypatch.setattr(listing, f"{name}_MAXIMUM", value)
    with pytest.raises(EndlessListing):
        list_repositories(Pages(page), "team")


def test_a_repository_that_moves_to_the_next_page_meanwhile_is_listed_once() -> None:
    pages = [Page(["team/a", "team/b"], "1"), Page(["team/b", "team/c"], None)]
    assert list_repositories(Pages(pages.__getitem__), "team") == ["a", "b", "c"]


def test_a_listing_can_be_stopped_between_pages() -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list_repositories(Pages(lambda _: Page([], None)), "team", stop)
