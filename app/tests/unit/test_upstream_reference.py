"""References to repositories of other registries."""

from __future__ import annotations

import pytest
from atoll.upstream.challenges import Challenge, parse_challenges
from atoll.upstream.errors import InvalidContent, InvalidReference
from atoll.upstream.links import next_page
from atoll.upstream.reference import UpstreamReference


@pytest.mark.parametrize(
    ("text", "host", "repository", "shown"),
    [
        ("quay.io/team/app", "quay.io", "team/app", "quay.io/team/app"),
        ("Quay.IO/team/app", "quay.io", "team/app", "quay.io/team/app"),
        ("docker.io/alpine", "registry-1.docker.io", "library/alpine", "docker.io/library/alpine"),
        ("index.docker.io/a/b", "registry-1.docker.io", "a/b", "docker.io/a/b"),
        ("registry-1.docker.io/a/b", "registry-1.docker.io", "a/b", "docker.io/a/b"),
        ("registry.example:5000/app", "registry.example:5000", "app", "registry.example:5000/app"),
        ("localhost/a/b/c", "localhost", "a/b/c", "localhost/a/b/c"),
        ("registry:5000/app", "registry:5000", "app", "registry:5000/app"),
        ("10.1.2.3/app", "10.1.2.3", "app", "10.1.2.3/app"),
        ("[FD00::1]:5000/app", "[fd00::1]:5000", "app", "[fd00::1]:5000/app"),
        ("bücher.example/app", "xn--bcher-kva.example", "app", "xn--bcher-kva.example/app"),
    ],
)
def test_a_reference_has_a_host_and_a_repository(
    text: str, host: str, repository: str, shown: str
) -> None:
    found = UpstreamReference.parse(text)
    assert (found.host, found.repository, str(found)) == (host, repository, shown)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alpine",
        "library/alpine",
        "quay.io",
        "quay.io/",
        "quay.io/Team/app",
        "quay.io/team/app:latest",
        "quay.io/team/app@sha256:" + "0" * 64,
        "https://quay.io/team/app",
        "quay.io/team/app?x",
        "quay.io/team/app#x",
        "quay.io\\team/app",
        "quay.io/team%2fapp",
        "quay.io /team/app",
        "user@quay.io/team/app",
        "quay.io:0/app",
        "quay.io:99999/app",
        "quay.io:/app",
        "[::1/app",
        "quay.io//app",
        "quay.io/../app",
        "a" * 300 + ".example/app",
    ],
)
def test_a_malformed_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference) as refused:
        UpstreamReference.parse(text)
    assert refused.value.reason == "invalid_source_registry"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], []),
        (["Basic"], [("basic", {})]),
        (['Basic realm="x"'], [("basic", {"realm": "x"})]),
        (
            ['Bearer realm="https://a/t",service=s,scope="repository:a/b:pull,push"'],
            [
                (
                    "bearer",
                    {"realm": "https://a/t", "service": "s", "scope": "repository:a/b:pull,push"},
                )
            ],
        ),
        (
            ['Basic realm="a, b", BEARER Realm = "c" , scope=d'],
            [("basic", {"realm": "a, b"}), ("bearer", {"realm": "c", "scope": "d"})],
        ),
        (
            ['Basic realm="a"', "Bearer realm=b"],
            [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})],
        ),
        (
            ['Negotiate abc==, Basic realm="x"'],
            [("negotiate", {}), ("basic", {"realm": "x"})],
        ),
        (['Basic realm="a\\"b\\\\"'], [("basic", {"realm": 'a"b\\'})]),
        (["Negotiate, Basic realm=x"], [("negotiate", {}), ("basic", {"realm": "x"})]),
        (['Basic realm="unterminated'], [("basic", {})]),
        (["==,,;"], []),
    ],
)
def test_challenges_are_parsed(
    headers: list[str], expected: list[tuple[str, dict[str, str]]]
) -> None:
    found = parse_challenges(headers)
    assert found[: len(expected)] == [Challenge(*one) for one in expected]
    assert not any(challenge.parameters for challenge in found[len(expected) :])


def test_a_long_header_is_parsed_in_linear_time() -> None:
    for text in ("a " * 100_000, 'a="' * 100_000, "," * 100_000, " " * 100_000, "a=b " * 100_000):
        parse_challenges([text])


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        (['</v2/a?last=b>; rel="next"'], "https://r.example/v2/a?last=b"),
        (["</v2/a?last=b>; rel=next"], "https://r.example/v2/a?last=b"),
        (['<?last=b>;title="x"; rel="prev next"'], "https://r.example/v2/a/tags/list?last=b"),
        (['<https://r.example/x>; rel="next"'], "https://r.example/x"),
        (['</first>; rel="first", </n>; rel="next"'], "https://r.example/n"),
        (['</first>; rel="first"', '</n>; rel="NEXT"'], "https://r.example/n"),
        (['</a>; rel="prev"'], None),
        (["garbage"], None),
    ],
)
def test_the_next_page_is_found(headers: list[str], expected: str | None) -> None:
    assert next_page(headers, "https://r.example/v2/a/tags/list?n=1") == expected


@pytest.mark.parametrize(
    "target", ["https://other.example/x", "http://r.example/x", "//other.example/x", "https://["]
)
def test_the_next_page_is_on_the_same_server(target: str) -> None:
    with pytest.raises(InvalidContent):
        next_page([f'<{target}>; rel="next"'], "https://r.example/v2/a/tags/list")
