"""Images are addressed by digest, and an image that a container uses is kept."""

import base64
import json

import pytest
from ansible_collections.atoll.registry.plugins.module_utils import podman_service
from ansible_collections.atoll.registry.plugins.module_utils.podman_service import (
    PodmanUnavailable,
)
from ansible_collections.atoll.registry.plugins.modules.image import (
    ImageError,
    absent,
    present,
    tag_of,
)

NEW = "localhost/atoll@sha256:" + "b" * 64
GOOD = "localhost/atoll@sha256:" + "a" * 64


def image(identity, names=(), digest=None):
    return {"Id": identity, "Names": list(names), "RepoDigests": [digest] if digest else []}


STORED = [
    image("runs", ["localhost/atoll:dev"]),
    image("unused", ["localhost/atoll:sha256-1", "localhost/atoll@sha256:" + "1" * 64]),
    image("nameless", [], "localhost/atoll@sha256:" + "2" * 64),
    image("good", ["localhost/atoll:sha256-aaaaaaaaaaaaaaaa"], GOOD),
    image("shared", ["localhost/atoll:old", "localhost/mine:1"]),
    image("other", ["localhost/atoll-postgres:dev"]),
]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Return a function that reads the state of podman."""
    state = tmp_path / "state.json"
    content = {
        "images": STORED,
        "used": ["runs"],
        "archives": {"new": [image("new", ["localhost/atoll:dev"], NEW)], "old": []},
        "registry": {NEW: [image("new", [NEW], NEW)]},
    }
    state.write_text(json.dumps(content))
    monkeypatch.setenv("PODMAN_STATE", str(state))

    def access(**changes):
        found = json.loads(state.read_text()) | changes
        state.write_text(json.dumps(found))
        found["ids"] = [one["Id"] for one in found["images"]]
        return found

    return access


@pytest.fixture
def module(tmp_path, podman_module):
    """Return a function that returns a module with an archive of the given content."""

    def build(content="new", *, check_mode=False, **params):
        archive = tmp_path / "image.tar"
        archive.write_text(content)
        given = {"archive": str(archive), "authfile": None, "keep": [GOOD], "probe": False}
        return podman_module(given | params, check_mode)

    return build


def test_only_unused_images_of_the_repository_are_removed_except_those_to_keep(module, store):
    result = present(module(), NEW)

    assert result == {"changed": True, "removed": ["unused", "nameless", "shared"]}
    assert store()["ids"] == ["runs", "good", "shared", "other", "new"]


def test_names_of_other_repositories_are_kept(module, store):
    present(module(), NEW)

    assert next(one["Names"] for one in store()["images"] if one["Id"] == "shared") == [
        "localhost/mine:1"
    ]


def test_old_images_are_removed_before_the_new_one_is_loaded(module, store):
    present(module(), NEW)

    requests = store()["requests"]
    assert requests.index("DELETE nameless") < requests.index("POST load")


def test_the_tag_of_an_image_is_derived_from_its_digest(module, store):
    present(module(), NEW)

    assert store()["images"][-1]["Names"][-1] == "localhost/atoll:sha256-" + "b" * 16
    assert tag_of(NEW) != tag_of(NEW.replace("bbbb", "cccc"))


def test_a_present_image_requires_no_change(module, store):
    present(module(), NEW)
    before = store()

    assert present(module(), NEW) == {"changed": False, "removed": []}
    assert store()["images"] == before["images"]


@pytest.mark.parametrize("mode", [{"check_mode": True}, {"probe": True}])
def test_check_mode_and_probes_change_nothing(module, store, mode):
    before = store()

    assert present(module(**mode), NEW)["changed"] is True
    assert absent(module(**mode), NEW)["removed"] == ["unused", "nameless", "shared"]
    assert store()["images"] == before["images"]


def test_an_archive_without_the_expected_digest_is_an_error(module, store):
    with pytest.raises(ImageError, match=r"was loaded, but .* no image localhost/atoll@sha"):
        present(module("old"), NEW)
    assert "POST load" in store()["requests"]


def test_an_image_is_pulled_with_the_credentials_of_the_file(module, store, tmp_path):
    authfile = tmp_path / "auth.json"
    login = base64.b64encode(b"robot:pass:word").decode()
    authfile.write_text(json.dumps({"auths": {"quay.example.org/a": {"auth": login}}}))

    assert present(module(archive=None, authfile=str(authfile)), NEW)["changed"] is True
    assert store()["credentials"] == {
        "quay.example.org/a": {"username": "robot", "password": "pass:word"}
    }


def test_an_image_is_pulled_without_credentials_if_there_is_no_file(module, store, tmp_path):
    present(module(archive=None, authfile=str(tmp_path / "missing.json")), NEW)

    assert store()["credentials"] is None
    assert "new" in store()["ids"]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("content", ["no json", "[]", '{"auths": {"a": {"auth": "%"}}}'])
def test_the_error_for_invalid_credentials_names_their_file(module, tmp_path, content):
    authfile = tmp_path / "auth.json"
    authfile.write_text(content)

    with pytest.raises(ImageError, match=r"credentials in .*auth\.json cannot be read"):
        present(module(archive=None, authfile=str(authfile)), NEW)


@pytest.mark.usefixtures("store")
def test_an_image_that_cannot_be_pulled_is_an_error_with_its_cause(module):
    with pytest.raises(ImageError, match="cannot be pulled: manifest unknown"):
        present(module(archive=None), NEW.replace("b", "c"))


def test_an_image_that_was_pulled_under_another_digest_is_an_error(module, store):
    store(registry={NEW: []})

    with pytest.raises(ImageError, match="image was pulled, but podman has no image"):
        present(module(archive=None), NEW)


def test_removal_keeps_images_to_keep(module, store):
    assert absent(module(), NEW)["removed"] == ["unused", "nameless", "shared"]
    assert "good" in store()["ids"]


def test_removal_keeps_the_images_of_containers(module, store):
    result = absent(module(keep=[]), NEW)

    assert result == {"changed": True, "removed": ["unused", "nameless", "good", "shared"]}
    assert store()["ids"] == ["runs", "shared", "other"]
    assert absent(module(keep=[]), NEW) == {"changed": False, "removed": []}


def test_an_image_that_comes_into_use_during_the_removal_is_kept(module, store):
    """No image is removed with force, which would also remove its containers."""
    store(secretly_used=["nameless", "unused"])

    assert absent(module(keep=[]), NEW)["removed"] == ["good", "shared"]
    assert {"nameless", "unused"} <= set(store()["ids"])


@pytest.mark.usefixtures("store")
def test_a_host_without_podman_has_no_images_to_remove(module):
    host = module()
    host.program.unlink()

    assert absent(host, NEW) == {"changed": False, "removed": []}


@pytest.mark.usefixtures("store")
def test_a_missing_library_is_reported_except_in_check_mode_before_the_first_rollout(
    module, monkeypatch
):
    monkeypatch.setattr(podman_service, "PodmanClient", None)

    with pytest.raises(PodmanUnavailable, match="python3-podman"):
        present(module(), NEW)
    assert present(module(check_mode=True), NEW)["changed"] is True
