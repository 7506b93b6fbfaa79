"""Distribution-spec v1.1.1, "Content Discovery": one test for each sentence."""

from __future__ import annotations

import pytest

from .protocol import CONFIG_TYPE, IMAGE_TYPE, INDEX_TYPE, Image, Registry, codes, encode, sha256

SIGNATURE, LIST = "application/vnd.example.signature", "application/vnd.example.list"
UNKNOWN = sha256(b"nobody ever pushed this")


@pytest.fixture
def tagged(registry: Registry) -> Registry:
    """A repository with five tags."""
    content = registry.push_image().content
    for tag in ("b", "a", "C", "10", "d"):
        assert registry.put_manifest(tag, content).status_code == 201
    return registry


def test_tags_of_a_repository_are_200_with_name_and_tags(tagged: Registry) -> None:
    """Listing Tags: "MUST return a 200 OK", "MUST be a json body in the following format"."""
    answer = tagged.tags()
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"name": tagged.name, "tags": ["10", "C", "a", "b", "d"]}


def test_a_repository_without_tags_has_an_empty_list(registry: Registry) -> None:
    """Listing Tags: "The list of tags MAY be empty if there are no tags"."""
    registry.push_blob(b"so that the repository is there")
    answer = registry.tags()
    assert (answer.status_code, answer.json()["tags"]) == (200, [])


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_n_limits_the_tags_and_link_leads_to_the_rest(tagged: Registry, count: int) -> None:
    """Listing Tags: "the response MUST include <int> results"; `Link` with rel="next"."""
    answer = tagged.tags(n=count)
    found = answer.json()["tags"]
    assert len(found) == count
    while "next" in answer.links:
        answer = tagged.request("GET", answer.links["next"]["url"])
        found += answer.json()["tags"]
    assert found == ["10", "C", "a", "b", "d"]


@pytest.mark.parametrize("count", [5, 6, 100_000])
def test_an_n_beyond_the_number_of_tags_returns_all_without_a_link(
    tagged: Registry, count: int
) -> None:
    """Listing Tags: fewer "only when the total number of tags … is less"."""
    answer = tagged.tags(n=count)
    assert len(answer.json()["tags"]) == 5
    assert "Link" not in answer.headers


def test_n_zero_is_an_empty_list_without_a_link(tagged: Registry) -> None:
    """Listing Tags: "When n is zero … MUST return an empty list, and MUST NOT include … Link"."""
    answer = tagged.tags(n=0)
    assert (answer.status_code, answer.json()["tags"]) == (200, [])
    assert "Link" not in answer.headers


@pytest.mark.parametrize(("last", "rest"), [("a", ["b", "d"]), ("B", ["C", "a", "b", "d"])])
def test_last_begins_after_that_tag(tagged: Registry, last: str, rest: list[str]) -> None:
    """Listing Tags: "beginning non-inclusively with <tagname>", which need not exist."""
    assert tagged.tags(last=last).json()["tags"] == rest
    assert tagged.tags(last=last, n=1).json()["tags"] == rest[:1]


@pytest.mark.parametrize("count", ["-1", "many", "1.5"])
def test_an_n_that_is_not_a_number_is_400(tagged: Registry, count: str) -> None:
    """Endpoints: an invalid request is an error of the client."""
    answer = tagged.tags(n=count)
    assert answer.status_code == 400
    assert codes(answer)


def push_referrer(registry: Registry, subject: str, **fields: object) -> Image:
    config = registry.push_blob(b"{}")
    content = encode(
        {
            "schemaVersion": 2,
            "mediaType": IMAGE_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": config, "size": 2},
            "layers": [],
            "subject": {"mediaType": IMAGE_TYPE, "digest": subject, "size": 1},
            **fields,
        }
    )
    assert registry.put_manifest(sha256(content), content).status_code == 201
    return Image(content, config, [])


def test_referrers_are_200_and_an_image_index(registry: Registry) -> None:
    """Listing Referrers: "MUST return a 200 OK", Content-Type, "an image index"."""
    subject = registry.push_image()
    answer = registry.referrers(subject.digest)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == INDEX_TYPE
    assert answer.json() == {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}


@pytest.mark.parametrize("known_repository", [True, False])
def test_an_unknown_subject_has_an_empty_index(
    registry: Registry, *, known_repository: bool
) -> None:
    """Listing Referrers: "MUST NOT return a 404", "an empty manifest list MUST be returned"."""
    if known_repository:
        registry.push_image()
    answer = registry.referrers(UNKNOWN)
    assert (answer.status_code, answer.json()["manifests"]) == (200, [])


@pytest.mark.parametrize("digest", ["sha256:short", "latest", "md5:" + "0" * 32])
def test_a_digest_with_an_invalid_syntax_is_400(registry: Registry, digest: str) -> None:
    """Listing Referrers: "such as … invalid syntax, a 400 Bad Request MUST be returned"."""
    registry.push_image()
    answer = registry.referrers(digest)
    assert (answer.status_code, codes(answer)) == (400, ["DIGEST_INVALID"])


def test_a_descriptor_has_type_size_artifact_type_and_annotations(registry: Registry) -> None:
    """Listing Referrers: "MUST include an artifactType", "MUST include annotations"."""
    subject = registry.push_image()
    notes = {"org.example.note": "signed", "org.example.empty": ""}
    pushed = push_referrer(registry, subject.digest, artifactType=SIGNATURE, annotations=notes)
    assert registry.referrers(subject.digest).json()["manifests"] == [
        {**pushed.descriptor, "artifactType": SIGNATURE, "annotations": notes}
    ]


def test_artifact_type_defaults_to_the_config_media_type(registry: Registry) -> None:
    """Listing Referrers: "MUST be set to the config descriptor mediaType value"."""
    subject = registry.push_image()
    push_referrer(registry, subject.digest)
    (descriptor,) = registry.referrers(subject.digest).json()["manifests"]
    assert descriptor["artifactType"] == CONFIG_TYPE


def test_an_index_without_an_artifact_type_is_listed_without_one(registry: Registry) -> None:
    """Listing Referrers: "missing in an index, the artifactType MUST be omitted"."""
    subject = registry.push_image()
    plain = registry.push_index([], subject=subject.descriptor)
    typed = registry.push_index([], subject=subject.descriptor, artifactType=LIST)
    assert registry.referrers(subject.digest).json()["manifests"] == [
        plain.descriptor,
        {**typed.descriptor, "artifactType": LIST},
    ]


def test_a_referrer_may_be_pushed_before_its_subject(registry: Registry) -> None:
    """Push: "MUST initially accept … a subject field that references a manifest that does not"."""
    pushed = push_referrer(registry, UNKNOWN, artifactType=SIGNATURE)
    (descriptor,) = registry.referrers(UNKNOWN).json()["manifests"]
    assert descriptor["digest"] == pushed.digest


def test_referrers_are_filtered_by_artifact_type(registry: Registry) -> None:
    """Listing Referrers: "MUST include a header OCI-Filters-Applied: artifactType"."""
    subject = registry.push_image()
    wanted = push_referrer(registry, subject.digest, artifactType=SIGNATURE)
    push_referrer(registry, subject.digest, artifactType=LIST)
    answer = registry.referrers(subject.digest, artifactType=SIGNATURE)
    assert [entry["digest"] for entry in answer.json()["manifests"]] == [wanted.digest]
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    assert "OCI-Filters-Applied" not in registry.referrers(subject.digest).headers
    answer = registry.referrers(subject.digest, artifactType="application/vnd.example.none")
    assert (answer.status_code, answer.json()["manifests"]) == (200, [])


def test_referrers_that_exceed_one_response_are_listed_in_pages(registry: Registry) -> None:
    """Listing Referrers: "A Link header MUST be included … cannot be returned in a single"."""
    subject = registry.push_image()
    pushed = [
        push_referrer(
            registry,
            subject.digest,
            artifactType=SIGNATURE,
            annotations={"number": str(number), "large": "A" * 1_500_000},
        ).digest
        for number in range(4)
    ]
    answer = registry.referrers(subject.digest, artifactType=SIGNATURE)
    found = [entry["digest"] for entry in answer.json()["manifests"]]
    assert 0 < len(found) < 4
    while "next" in answer.links:
        answer = registry.request("GET", answer.links["next"]["url"])
        assert answer.headers["OCI-Filters-Applied"] == "artifactType"
        found += [entry["digest"] for entry in answer.json()["manifests"]]
    assert found == pushed


def test_a_deleted_referrer_is_not_listed(registry: Registry) -> None:
    """Deleting Manifests: a deleted manifest is not a referrer."""
    subject = registry.push_image()
    pushed = push_referrer(registry, subject.digest, artifactType=SIGNATURE)
    assert registry.manifest(pushed.digest, "DELETE").status_code == 202
    assert registry.referrers(subject.digest).json()["manifests"] == []


def test_the_tag_of_the_referrers_tag_schema_is_an_ordinary_tag(registry: Registry) -> None:
    """Referrers Tag Schema: clients without the referrers API keep an index as `<alg>-<ref>`."""
    subject = registry.push_image()
    tag = subject.digest.replace(":", "-")
    index = registry.push_index([push_referrer(registry, subject.digest)], tag)
    assert registry.manifest(tag).content == index.content
