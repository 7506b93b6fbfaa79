"""Lists of tags of any registry are read, or refused with a reason."""

from __future__ import annotations

import pytest
from atoll.upstream.client import UpstreamClient
from atoll.upstream.errors import (
    EndlessListing,
    InvalidContent,
    ManifestUnknown,
    NotFound,
    TooLarge,
    UpstreamError,
)

from ..upstream import fault_upstream as faults
from ..upstream.certificates import PrivateCa
from ..upstream.clients import client
from ..upstream.content import UpstreamRepository
from ..upstream.fault_upstream import FaultUpstream, Oddities


@pytest.mark.parametrize("absolute", [False, True], ids=["relative links", "absolute links"])
def test_tags_are_read_from_all_pages(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient, *, absolute: bool
) -> None:
    upstream.oddities = Oddities(page_size=30, absolute_links=absolute)
    image = there.add_image()
    names = [f"v{number:03}" for number in range(100)]
    there.tags = dict.fromkeys(names, image)
    assert one.tags().names == names
    assert upstream.count("tags") == 4
    assert upstream.connections == 1


def test_a_missing_list_of_tags_is_reported(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient
) -> None:
    assert one.tags().names == []
    assert not one.tags().is_null
    there.add_image("latest")
    upstream.oddities.null_tags = True
    tags = one.tags()
    assert tags.names == []
    assert tags.is_null


def test_entries_that_are_no_tags_are_counted(
    there: UpstreamRepository, one: UpstreamClient
) -> None:
    there.tags = dict.fromkeys(["good", "not good", "-bad", "x" * 129], there.add_image())
    tags = one.tags()
    assert tags.names == ["good"]
    assert tags.skipped == 3


def test_a_listing_without_end_is_aborted(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient
) -> None:
    there.add_image("latest")
    upstream.oddities.endless_pages = True
    with pytest.raises(EndlessListing):
        one.tags()
    assert upstream.count("tags") <= 2


def test_a_listing_does_not_continue_on_another_server(
    ca: PrivateCa, upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient
) -> None:
    with FaultUpstream(ca.server_context()).running() as other:
        upstream.oddities = Oddities(page_size=1, next_on=other.url)
        there.tags = dict.fromkeys(["a", "b"], there.add_image())
        with pytest.raises(InvalidContent, match="another server"):
            one.tags()
        assert other.requests == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>", InvalidContent),
        (b"[]", InvalidContent),
        (b"{}", InvalidContent),
        (b'{"tags": "latest"}', InvalidContent),
        (b"[" * 100_000, TooLarge),
        (b'{"tags": [' + b"{}," * 2_000_000 + b"{}]}", TooLarge),
        (b'{"tags": ["' + b"x" * 9_000_000 + b'"]}', TooLarge),
    ],
    ids=["HTML", "a list", "no tags", "a string", "nesting", "objects", "9 MB"],
)
def test_a_malformed_listing_is_refused(
    upstream: FaultUpstream,
    there: UpstreamRepository,
    one: UpstreamClient,
    body: bytes,
    kind: type[UpstreamError],
) -> None:
    there.add_image("latest")
    upstream.fail("tags", faults.replace(lambda _body: body))
    with pytest.raises(kind):
        one.tags()


def test_a_missing_repository_is_not_found(ca: PrivateCa, upstream: FaultUpstream) -> None:
    missing = client(ca, upstream, "no/such")
    with pytest.raises(NotFound) as failed:
        missing.tags()
    assert failed.value.reason == "not_found"
    with pytest.raises(NotFound) as failed:
        missing.manifest("latest")
    assert not isinstance(failed.value, ManifestUnknown)
    assert missing.head("latest") is None
