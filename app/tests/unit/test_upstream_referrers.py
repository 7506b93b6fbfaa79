"""Referrers of any registry are read, or refused with a reason."""

from __future__ import annotations

import json

import pytest
from atoll.upstream.attached_tags import attached_tags, fallback_tag, is_attached_tag
from atoll.upstream.client import REFERRERS_MAXIMUM, UpstreamClient
from atoll.upstream.errors import (
    EndlessListing,
    InvalidContent,
)

from ..upstream import fault_upstream as faults
from ..upstream.content import OCI_IMAGE, OCI_INDEX, UpstreamRepository
from ..upstream.fault_upstream import FaultUpstream
from .upstream_client import digest


def test_referrers_are_read_from_all_pages(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient
) -> None:
    upstream.oddities.page_size = 2
    image = there.add_image("latest")
    expected = {there.add_referrer(image, f"application/x-{n}"): n for n in range(5)}
    found = one.referrers(digest(image))
    assert {str(referrer.digest) for referrer in found} == set(expected)
    assert {referrer.artifact_type for referrer in found} == {
        f"application/x-{n}" for n in range(5)
    }
    assert upstream.count("referrers") == 3
    assert one.referrers(digest(next(iter(expected)))) == []


@pytest.mark.parametrize("answer", [400, 404, 405, 501])
def test_referrers_are_found_by_the_fallback_tag(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient, answer: int
) -> None:
    upstream.oddities.no_referrers = answer
    image = there.add_image("latest")
    assert one.referrers(digest(image)) == []
    artifact = there.add_referrer(image, "application/x-sbom")
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": there.referrers(image),
    }
    there.add_manifest(document, OCI_INDEX, fallback_tag(digest(image)))
    (found,) = one.referrers(digest(image))
    assert str(found.digest) == artifact
    assert found.artifact_type == "application/x-sbom"


@pytest.mark.parametrize("by_tag", [False, True], ids=["API", "fallback tag"])
def test_too_many_referrers_are_refused(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient, *, by_tag: bool
) -> None:
    image = there.add_image("latest")
    descriptor = {"mediaType": OCI_IMAGE, "digest": image, "size": 1}

    def found(number: int) -> int:
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor] * number}
        body = json.dumps(document).encode()
        if by_tag:
            upstream.oddities.no_referrers = 404
            there.add_raw_manifest(body, OCI_INDEX, fallback_tag(digest(image)))
        else:
            upstream.fail("referrers", faults.replace(lambda _body: body))
        return len(one.referrers(digest(image)))

    assert found(REFERRERS_MAXIMUM) == 1
    with pytest.raises(EndlessListing, match="more than 1000 referrers"):
        found(REFERRERS_MAXIMUM + 1)


def test_pages_of_referrers_are_requested_until_there_are_too_many(
    upstream: FaultUpstream,
    there: UpstreamRepository,
    one: UpstreamClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = there.add_image("latest")
    entries = [{"mediaType": OCI_IMAGE, "digest": image, "size": 1}] * 5000
    monkeypatch.setattr(there, "referrers", lambda _subject: entries)
    upstream.oddities.page_size = 400
    with pytest.raises(EndlessListing):
        one.referrers(digest(image))
    assert upstream.count("referrers") == 3


def test_tags_that_belong_to_a_manifest_are_recognized() -> None:
    name = digest("sha256:" + "a" * 64)
    base = "sha256-" + "a" * 64
    mine = [base, f"{base}.sig", f"{base}.att", f"{base}.sbom"]
    of_another = f"sha256-{'b' * 64}.sig"
    others = ["latest", f"{base}.other", f"{base}.sig.sig"]
    assert attached_tags(name, {*mine, of_another, *others}) == mine
    assert all(map(is_attached_tag, [*mine[1:], of_another]))
    assert not any(map(is_attached_tag, [base, *others]))


@pytest.mark.parametrize(
    "entry", [None, {}, {"digest": "sha256:1", "mediaType": OCI_IMAGE, "size": 1}, {"digest": 5}]
)
def test_malformed_referrers_are_refused(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient, entry: object
) -> None:
    image = there.add_image("latest")
    body = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    upstream.fail("referrers", faults.replace(lambda _body: body))
    with pytest.raises(InvalidContent):
        one.referrers(digest(image))
