"""Names are validated when they are parsed."""

from __future__ import annotations

import hashlib

import pytest
from atoll.names import Digest, InvalidDigest, InvalidName, RepositoryName, parse_tag
from hypothesis import given
from hypothesis import strategies as st

component = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,4}){0,2}", fullmatch=True)


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_a_digest_survives_a_round_trip(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)
    assert Digest.parse(str(digest)) == digest
    assert digest.hex == hashlib.new(algorithm, data).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:abc",
        "md5:" + "a" * 32,
        "sha256:" + "A" * 64,
        "sha256:" + "g" * 64,
        "sha512:" + "a" * 64,
        "sha256:" + "a" * 64 + "\n",
    ],
)
def test_an_invalid_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidDigest):
        Digest.parse(text)


@given(st.lists(component, min_size=2, max_size=5))
def test_a_repository_name_survives_a_round_trip(parts: list[str]) -> None:
    text = "/".join(parts)
    name = RepositoryName.parse(text)
    assert (name.namespace, str(name)) == (parts[0], text)


def test_a_name_of_one_component_is_in_the_library_namespace() -> None:
    assert str(RepositoryName.parse("debian")) == "library/debian"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "A/b",
        "a/b_",
        "a/-b",
        "a/../b",
        "a/b\n",
        "a/b c",
        "é/b",
        "a/" + "b" * 254,
    ],
)
def test_an_invalid_repository_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        RepositoryName.parse(text)


@given(st.text(max_size=300))
def test_any_text_is_either_parsed_or_refused(text: str) -> None:
    for parse, refusal in (
        (RepositoryName.parse, InvalidName),
        (Digest.parse, InvalidDigest),
        (parse_tag, InvalidName),
    ):
        try:
            assert str(parse(text)).endswith(text)
        except refusal:
            continue


@pytest.mark.parametrize("text", ["", ".a", "-a", "a" * 129, "a/b", "a:b", "a\n"])
def test_an_invalid_tag_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        parse_tag(text)
