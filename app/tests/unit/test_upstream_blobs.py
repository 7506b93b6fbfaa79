"""Downloads of blobs resume, are verified, and fail with a reason."""

from __future__ import annotations

import threading
import time

import pytest
from atoll.upstream.client import UpstreamClient
from atoll.upstream.download import RangesUnsupported
from atoll.upstream.errors import (
    BlobUnknown,
    InvalidContent,
    RateLimited,
    ServerFailed,
    Stopped,
    TooLong,
    Truncated,
    Unreachable,
    UpstreamError,
    UpstreamTimedOut,
    WrongDigest,
)

from ..upstream import fault_upstream as faults
from ..upstream.certificates import PrivateCa
from ..upstream.clients import client
from ..upstream.content import UpstreamRepository
from ..upstream.fault_upstream import FaultUpstream, Oddities
from .upstream_client import digest, fetch


@pytest.mark.parametrize(
    "oddities",
    [Oddities(), Oddities(chunked=True), Oddities(ignore_ranges=True)],
    ids=["standard", "chunked", "no ranges"],
)
def test_a_blob_resumes_after_interruptions(
    upstream: FaultUpstream,
    there: UpstreamRepository,
    one: UpstreamClient,
    oddities: Oddities,
) -> None:
    upstream.oddities = oddities
    content = bytes(range(256)) * 4000
    blob = there.add_blob(content)
    for size in (300_000, 500_001, 700_000):
        upstream.fail("blob", faults.truncate(size if oddities.ignore_ranges else 200_000))
    download = one.blob(digest(blob), len(content))
    assert b"".join(download.pieces()) == content
    assert download.requests == 4
    ranges = [request.headers.get("range") for request in upstream.requests]
    assert ranges[0] is None
    assert all(value and value.endswith(f"-{len(content) - 1}") for value in ranges[1:])


def test_a_resumed_blob_is_transferred_once(
    upstream: FaultUpstream, there: UpstreamRepository, impatient: UpstreamClient
) -> None:
    content = bytes(range(256)) * 8000
    blob = there.add_blob(content)
    upstream.fail("blob", faults.truncate(1_000_000))
    upstream.fail("blob", faults.stall(500_000))
    assert fetch(impatient, blob, len(content)) == content
    assert upstream.sent < 1.1 * len(content)


def test_a_download_can_continue_an_earlier_one(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient
) -> None:
    content = bytes(range(256)) * 1000
    name = digest(there.add_blob(content))
    hasher = name.hasher()
    hasher.update(content[:100_000])
    download = one.blob(name, len(content), start=100_000, hasher=hasher)
    assert b"".join(download.pieces()) == content[100_000:]
    assert upstream.requests[0].headers["range"] == f"bytes=100000-{len(content) - 1}"


def test_a_download_continues_after_a_pause(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient
) -> None:
    content = bytes(range(256)) * 2000
    blob = there.add_blob(content)
    upstream.fail("blob", faults.truncate(200_000))
    upstream.fail("blob", faults.too_many_requests("7"))
    download = one.blob(digest(blob), len(content))
    received = bytearray()

    def read() -> None:
        for piece in download.pieces():
            received.extend(piece)

    with pytest.raises(RateLimited) as paused:
        read()
    assert paused.value.seconds == 7
    read()
    assert bytes(received) == content
    assert upstream.sent < 1.1 * len(content)


def test_an_empty_blob_is_requested_and_verified(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient
) -> None:
    assert fetch(one, there.add_blob(b""), 0) == b""
    assert upstream.count("blob") == 1


@pytest.mark.parametrize(
    ("action", "kind", "code"),
    [
        (faults.corrupt(), WrongDigest, "wrong_digest"),
        (faults.shorten(0), Truncated, "truncated"),
        (faults.truncate(0), Truncated, "truncated"),
        (faults.lengthen(1), TooLong, "too_long"),
        (faults.endless(), TooLong, "too_long"),
        (faults.stall(0), UpstreamTimedOut, "network_timeout"),
        (faults.silence(), UpstreamTimedOut, "network_timeout"),
        (faults.drip(0.01), UpstreamTimedOut, "network_timeout"),
        (faults.hang_up(), Unreachable, "connection_error"),
        (faults.status(500), ServerFailed, "server_error"),
        (faults.status(404), BlobUnknown, "blob_unknown"),
        (faults.status(418), InvalidContent, "invalid_response"),
        (faults.too_many_requests("7"), RateLimited, "rate_limited"),
    ],
    ids=[
        "wrong bytes",
        "short",
        "cut off",
        "one byte too long",
        "endless",
        "stalled",
        "silent",
        "dripping",
        "closed",
        "500",
        "404",
        "418",
        "429",
    ],
)
def test_a_failed_blob_has_a_named_reason(
    upstream: FaultUpstream,
    there: UpstreamRepository,
    one: UpstreamClient,
    impatient: UpstreamClient,
    action: faults.Action,
    kind: type[UpstreamError],
    code: str,
) -> None:
    content = bytes(range(250)) * 4
    blob = there.add_blob(content)
    upstream.fail("blob", action, times=None)
    with pytest.raises(UpstreamError) as failed:
        fetch(impatient if kind is UpstreamTimedOut else one, blob, len(content))
    assert type(failed.value) is kind
    assert failed.value.code == code
    upstream.recover()
    assert fetch(one, blob, len(content)) == content


def test_a_blob_that_is_shorter_than_its_descriptor_is_truncated(
    there: UpstreamRepository, one: UpstreamClient
) -> None:
    blob = there.add_blob(b"x" * 999)
    with pytest.raises(Truncated):
        fetch(one, blob, 1000)


def test_another_range_than_requested_is_refused(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient
) -> None:
    upstream.oddities.wrong_ranges = True
    blob = there.add_blob(b"x" * 1000)
    upstream.fail("blob", faults.truncate(500))
    with pytest.raises(InvalidContent, match="another part"):
        fetch(one, blob, 1000)


def test_parts_of_a_blob_can_be_fetched_in_parallel(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient
) -> None:
    content = bytes(range(256)) * 1000
    name = digest(there.add_blob(content))
    upstream.fail("blob", faults.truncate(1000), path="", after=1)
    found = [
        b"".join(one.blob_part(name, len(content), start, min(start + 100_000, 256_000)).pieces())
        for start in range(0, 256_000, 100_000)
    ]
    assert b"".join(found) == content
    upstream.oddities.ignore_ranges = True
    with pytest.raises(RangesUnsupported):
        list(one.blob_part(name, len(content), 0, 100_000).pieces())


def test_an_aborted_download_ends_at_once(
    upstream: FaultUpstream, there: UpstreamRepository, ca: PrivateCa
) -> None:
    content = bytes(range(256)) * 4000
    blob = there.add_blob(content)
    upstream.fail("blob", faults.stall(100_000), times=None)
    download = client(ca, upstream).blob(digest(blob), len(content))
    started = time.monotonic()
    threading.Timer(0.5, download.abort).start()
    with pytest.raises(Stopped) as failed:
        list(download.pieces())
    assert failed.value.reason == "preempted"
    # Less than the time after which a stalled transfer fails.
    assert time.monotonic() - started < 25
    with pytest.raises(Stopped):
        list(download.pieces())


def test_memory_does_not_depend_on_the_size_of_a_blob(
    there: UpstreamRepository, one: UpstreamClient
) -> None:
    content = bytes(100_000_000)
    blob = there.add_blob(content)
    sizes = [len(piece) for piece in one.blob(digest(blob), len(content)).pieces()]
    assert max(sizes) <= 65_536
    assert sum(sizes) == len(content)
