"""Which manifests of an index a filter of architectures selects."""

from __future__ import annotations

import json

import pytest
from atoll.mirroring.rules.platforms import selected_digests

IMAGE_AMD64, IMAGE_ARM64, UNKNOWN, PLAIN = (f"sha256:{letter * 64}" for letter in "abcd")
ATTESTATION_AMD64, ATTESTATION_ARM64 = (f"sha256:{letter * 64}" for letter in "ef")


def entry(digest: str, architecture: object = None, describes: str | None = None) -> object:
    made: dict[str, object] = {"digest": digest}
    if architecture is not None:
        made["platform"] = {"architecture": architecture, "os": "linux"}
    if describes is not None:
        made["annotations"] = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": describes,
        }
    return made


INDEX = json.dumps(
    {
        "manifests": [
            entry(IMAGE_AMD64, "amd64"),
            entry(IMAGE_ARM64, "arm64"),
            entry(UNKNOWN, "unknown"),
            entry(PLAIN),
            entry(ATTESTATION_AMD64, "unknown", IMAGE_AMD64),
            entry(ATTESTATION_ARM64, "unknown", IMAGE_ARM64),
        ]
    }
).encode()
ALWAYS = {UNKNOWN, PLAIN}


@pytest.mark.parametrize(
    ("architectures", "expected"),
    [
        ([], {IMAGE_AMD64, IMAGE_ARM64, ATTESTATION_AMD64, ATTESTATION_ARM64} | ALWAYS),
        (["amd64"], {IMAGE_AMD64, ATTESTATION_AMD64} | ALWAYS),
        (["arm64", "s390x"], {IMAGE_ARM64, ATTESTATION_ARM64} | ALWAYS),
        (["s390x"], ALWAYS),
    ],
)
def test_attestations_follow_the_selected_images(
    architectures: list[str], expected: set[str]
) -> None:
    assert selected_digests(INDEX, architectures) == expected


@pytest.mark.parametrize("platform", [None, "amd64", [], {"architecture": ["amd64"]}])
def test_malformed_platforms_are_no_error(platform: object) -> None:
    index = json.dumps({"manifests": [{"digest": PLAIN, "platform": platform}]}).encode()
    assert selected_digests(index, ["amd64"]) <= {PLAIN}
