"""Hashes of bodies that were computed while the bodies were received."""

from __future__ import annotations

import hashlib
import io
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from atoll.names import Digest
from atoll.registry import body_hashes
from atoll.registry.body_hashes import BodyHashes
from atoll.registry.errors import SizeInvalid
from atoll.registry.upload_session import Body
from atoll.storage import multipart
from atoll.storage.proof import Content
from atoll.web.spool import SpooledRequest, admit_up_to
from waitress.adjustments import Adjustments

MEBIBYTE = 2**20
SHA256 = Digest.of(b"").hasher


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_hashes, "SINGLE_MAXIMUM", 1000)
    monkeypatch.setattr(body_hashes, "part_size", lambda _total: 400)


def content_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def pieces_of(content: bytes) -> Iterator[bytes]:
    chance = random.Random(len(content))
    while content:
        size = chance.randint(1, 700)
        yield content[:size]
        content = content[size:]


def body_of(content: bytes, announced: int, fed: int) -> Body:
    """Return a body of which the first `fed` pieces were given to be hashed."""
    hashes = BodyHashes(announced, md5=True)
    for number, piece in enumerate(pieces_of(content)):
        if number < fed:
            hashes.feed(piece)
    return Body(io.BytesIO(content), len(content), hashes)


@pytest.mark.parametrize("fed", [0, 1, 1000])
@pytest.mark.parametrize(
    ("size", "announced", "parts"),
    [
        (0, 0, []),
        (1, 0, [1]),
        (400, 0, [400]),
        (999, 999, [999]),
        (1000, 1000, [1000]),
        (1200, 1200, [400, 400, 400]),
        (1201, 0, [400, 400, 400, 1]),
    ],
)
def test_a_body_has_the_hashes_of_its_content(
    size: int, announced: int, parts: list[int], fed: int
) -> None:
    content = content_of(size)
    body = body_of(content, announced, fed)
    assert body.digest(SHA256(), "sha256") == Digest.of(content)
    start = 0
    for length in parts:
        expected = hashlib.md5(content[start : start + length]).hexdigest()
        assert body.md5_of(start, length) == expected
        start += length


def test_the_md5_of_another_part_is_unknown() -> None:
    body = body_of(content_of(1000), 0, 1000)
    for start, size in ((0, 1000), (0, 399), (1, 400), (800, 400), (400, 600)):
        assert body.md5_of(start, size) is None
    assert body_of(b"content", 7, 1).md5_of(0, 7) is not None
    hashes = BodyHashes(7, md5=False)
    assert Body(io.BytesIO(b"content"), 7, hashes).md5_of(0, 7) is None


def test_pieces_beyond_the_backlog_are_read_from_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted: list[bool] = []

    def put(_hashes: BodyHashes, _piece: bytes) -> bool:
        accepted.append(False)
        return False

    monkeypatch.setattr(body_hashes._thread, "put", put)
    content = content_of(5000)
    body = body_of(content, 0, 1000)
    assert body.digest(SHA256(), "sha256") == Digest.of(content)
    # After one piece that was not hashed, later ones cannot be.
    assert accepted == [False]


def test_a_file_that_lacks_received_bytes_has_no_digest() -> None:
    body = Body(io.BytesIO(b"cont"), 7, BodyHashes(7, md5=True))
    for _ in range(2):
        with pytest.raises(SizeInvalid, match="3 of 7 bytes"):
            body.digest(SHA256(), "sha256")


def test_another_algorithm_is_computed_from_the_file() -> None:
    body = body_of(b"content", 7, 1)
    digest = Digest("sha512", hashlib.sha512(b"content").hexdigest())
    assert body.digest(digest.hasher(), "sha512") == digest


def test_the_md5_that_is_sent_is_that_of_the_received_bytes(tmp_path: Path) -> None:
    """A store refuses a part whose file has changed since, because its MD5 differs."""
    body = body_of(b"content", 7, 1)
    with (tmp_path / "spool").open("w+b") as file:
        file.write(b"CONTENT")
        part = multipart.FileSlice(file, 0, 7, md5=body.md5_of(0, 7))
        content: object = part
        assert Content(content, 7).md5 == hashlib.md5(b"content").hexdigest()  # type: ignore[arg-type]


def received(head: str, *pieces: bytes) -> SpooledRequest:
    request = SpooledRequest(
        Adjustments(max_request_body_size=2**40, inbuf_overflow=1000),
        admit=admit_up_to(2**40),
        make_hashes=lambda size: BodyHashes(size, md5=True),
    )
    request.received(f"PATCH / HTTP/1.1\r\n{head}\r\n\r\n".encode())
    for piece in pieces:
        assert request.received(piece) == len(piece)
    assert request.completed
    return request


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_hashed_while_it_is_received(
    chunked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    content = content_of(5000)
    if chunked:
        framed = [b"%x\r\n%b\r\n" % (len(one), one) for one in pieces_of(content)]
        request = received("Transfer-Encoding: chunked", *framed, b"0\r\n\r\n")
    else:
        request = received(f"Content-Length: {len(content)}", *pieces_of(content))
    assert request.hashes is not None
    body = Body(request.get_body_stream(), len(content), request.hashes)
    assert b"".join(body.pieces()) == content
    assert body.digest(SHA256(), "sha256") == Digest.of(content)
    assert body.md5_of(0, 400) == hashlib.md5(content[:400]).hexdigest()
    request.close()


def test_a_small_body_is_not_hashed_while_it_is_received() -> None:
    assert received("Content-Length: 7", b"content").hashes is None
