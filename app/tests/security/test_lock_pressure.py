"""One push takes a bounded number of locks in the database that all sites share."""

from __future__ import annotations

from ..image.protocol import CONFIG_TYPE, IMAGE_TYPE, LAYER_TYPE, Registry, codes, encode, sha256


def put_with_tags(registry: Registry, number: int) -> tuple[int, list[str], str]:
    image = registry.push_image()
    query = {"tag": [f"tag-{index}" for index in range(number)]}
    answer = registry.put_manifest(image.digest, image.content, params=query)
    failed = answer.status_code >= 400
    return answer.status_code, codes(answer) if failed else [], answer.headers.get("OCI-Tag", "")


def test_a_push_with_many_tags_is_refused(registry: Registry) -> None:
    assert put_with_tags(registry, 33)[:2] == (414, ["TAG_INVALID"])
    assert registry.tags().json()["tags"] in ([], None)


def test_a_push_may_have_as_many_tags_as_the_specification_requires(registry: Registry) -> None:
    status, _, tags = put_with_tags(registry, 10)
    assert status == 201
    assert len(tags.split(", ")) == 10
    assert len(registry.tags().json()["tags"]) == 10


def test_a_manifest_with_very_many_layers_is_refused(registry: Registry) -> None:
    digests = [registry.push_blob(b"{}"), registry.push_blob(b"layer")]
    layer = {"mediaType": LAYER_TYPE, "digest": digests[1], "size": 5}
    content = encode(
        {
            "schemaVersion": 2,
            "mediaType": IMAGE_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": digests[0], "size": 2},
            "layers": [layer] * 1001,
        }
    )
    answer = registry.put_manifest(sha256(content), content)
    assert (answer.status_code, codes(answer)) == (400, ["MANIFEST_INVALID"])
    assert "at most 1000" in answer.json()["errors"][0]["message"]
