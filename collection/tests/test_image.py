"""Images are addressed by digest, and the running image is kept for a rollback."""

import json

import pytest
from ansible_collections.atoll.registry.plugins.modules.image import Podman, bring, tag_of

NEW = "localhost/atoll@sha256:" + "b" * 64
STORE = [
    {"Id": "runs", "Names": ["localhost/atoll:dev"], "RepoDigests": []},
    {"Id": "unused", "Names": ["localhost/atoll:sha256-1"], "RepoDigests": []},
    {"Id": "good", "Names": [], "RepoDigests": ["localhost/atoll@sha256:" + "a" * 64]},
    {"Id": "other", "Names": ["localhost/atoll-postgres:dev"], "RepoDigests": []},
]


class Store(Podman):
    """A podman that only records its commands."""

    def __init__(self, has=True):
        self.done = []
        self._has = has

    def run(self, *arguments):
        self.done.append(arguments)
        return {"image": json.dumps(STORE), "ps": "runs\n"}.get(arguments[0], "")

    def has(self, _reference):
        return self._has


@pytest.fixture
def module(fake_module):
    keep = ["localhost/atoll@sha256:" + "a" * 64]
    return fake_module({"archive": "/tmp/image.tar", "authfile": None, "keep": keep})


def test_only_unused_images_of_the_repository_are_removed_except_those_to_keep(module):
    assert bring(module, Store(), NEW) == ["unused"]


def test_old_images_are_removed_before_the_new_one_is_loaded(module):
    store = Store()
    bring(module, store, NEW)

    steps = [arguments[:2] for arguments in store.done]
    assert steps.index(("image", "rm")) < steps.index(("load", "--quiet"))


def test_the_tag_of_an_image_is_derived_from_its_digest(module):
    store = Store()
    bring(module, store, NEW)

    assert store.done[-1] == ("tag", NEW, "localhost/atoll:sha256-" + "b" * 16)
    assert tag_of(NEW) != tag_of(NEW.replace("bbbb", "cccc"))


def test_an_archive_without_the_expected_digest_is_an_error(module, failed):
    with pytest.raises(failed, match="has no image localhost/atoll@sha256"):
        bring(module, Store(has=False), NEW)


def test_credentials_are_used_if_their_file_exists(tmp_path, fake_module):
    authfile = tmp_path / "auth.json"
    for exists in (False, True):
        if exists:
            authfile.write_text("{}")
        store = Store()
        bring(fake_module({"archive": None, "authfile": str(authfile), "keep": []}), store, NEW)
        pull = next(arguments for arguments in store.done if arguments[0] == "pull")
        assert ("--authfile" in pull) is exists
