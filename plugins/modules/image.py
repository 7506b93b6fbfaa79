#!/usr/bin/python
"""Ansible module: manage an image in podman's storage, addressed by its digest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image
short_description: Manage a container image on a host, addressed by its digest
description:
  - Loads an image into podman's storage on a host from an OCI archive on the controller, or pulls
    it from a registry.
  - The image is always addressed by its digest. The digest of an archive is read from the archive,
    so it need not be specified.
  - An archive is transferred only to a host without the image, and removed there after it is
    loaded.
  - Before a new image is loaded or pulled, unused images of the same repository are removed. The
    image of the running container is kept, so that a rollback is possible.
  - An image that a container uses, even a stopped one, is never removed.
version_added: 0.1.0
requirements:
  - Python library podman on the host (package python3-podman)
options:
  archive:
    description:
      - OCI archive on the controller, written with C(podman save --format oci-archive).
      - Mutually exclusive with O(reference).
    type: path
  reference:
    description:
      - The image as C(NAME@sha256:DIGEST). If it is missing, it is pulled from the registry in its
        name.
    type: str
  authfile:
    description:
      - File on the host with credentials for registries, in podman's format. Only the credentials
        in C(auths) are used, and no credential helpers.
      - If the file does not exist, the image is pulled without credentials.
    type: path
  state:
    description:
      - V(present) ensures that the image exists.
      - V(absent) removes the images of the same repository that no container uses. Names of other
        repositories that an image also has are kept.
    type: str
    choices: [present, absent]
    default: present
  keep:
    description: Unused images to keep with either state, as C(NAME@sha256:DIGEST).
    type: list
    elements: str
    default: []
  probe:
    description: Only return whether a change is required. Used internally by the action plugin.
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check mode, and report the changes without making them.
    support: full
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Ensure the image of an archive on the controller is present
  atoll.registry.image:
    archive: /srv/images/registry.tar
  register: registry_image_result

- name: Ensure an image of a registry is present
  atoll.registry.image:
    reference: quay.example.org/atoll/registry@sha256:0f1e...
    authfile: /etc/atoll/auth.json
"""

RETURN = r"""
reference:
  description: The image as C(NAME@sha256:DIGEST), for use in a unit.
  returned: always
  type: str
removed:
  description: IDs of the images that were removed, or would be removed in check mode.
  returned: always
  type: list
  elements: str
"""

import base64
import json
import os
import re
from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.podman_service import (
    PodmanUnavailable,
    podman_client,
)

REFERENCE = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")


class ImageError(Exception):
    """The image cannot be used; the message names the cause."""


class Images:
    """The images in podman's storage."""

    def __init__(self, podman: Any) -> None:
        self._podman = podman

    def has(self, reference: str) -> bool:
        """Return whether the image is in the storage."""
        return bool(self._podman.images.exists(reference))

    def unused(self, repository: str, keep: Collection[str] = ()) -> dict[str, list[str]]:
        """Return the names of each image of a repository that no container uses, by image ID.

        Args:
            repository: The repository.
            keep: The images to leave out, as NAME@DIGEST.
        """
        used = {container.attrs["ImageID"] for container in self._podman.containers.list(all=True)}
        found = {}
        for image in self._podman.images.list():
            names = image.attrs.get("Names") or []
            digests = image.attrs.get("RepoDigests") or []
            if image.id in used or not {*digests, *names}.isdisjoint(keep):
                continue
            if any(_repository_of(name) == repository for name in names or digests):
                found[image.id] = names
        return found

    def remove(self, repository: str, keep: Collection[str] = ()) -> list[str]:
        """Remove the unused images of a repository, and return their IDs."""
        unused = self.unused(repository, keep)
        return [image for image, names in unused.items() if self._remove(image, names, repository)]

    def _remove(self, image: str, names: Collection[str], repository: str) -> bool:
        """Remove an image, or only its names of the repository if it also has other names.

        podman removes an image with its last name. A digest can only be removed as the last name.
        """
        ours = [name for name in names if _repository_of(name) == repository]
        try:
            for name in sorted(ours, key=lambda name: "@" in name) if names else [image]:
                self._podman.images.remove(name)
        except OSError as error:
            # A container was created meanwhile, or a program other than podman uses the image.
            if _status(error) == HTTPStatus.CONFLICT:
                return False
            if _status(error) != HTTPStatus.NOT_FOUND:
                raise
        return True

    def load(self, archive: str) -> None:
        """Load the image of an archive."""
        # podman-py's method reads all of the archive into memory.
        with open(archive, "rb") as file:
            response = self._podman.api.post(
                "/images/load", data=file, headers={"Content-Type": "application/x-tar"}
            )
        response.raise_for_status()

    def pull(self, reference: str, authfile: str | None) -> None:
        """Pull an image from its registry.

        Raises:
            ImageError: The image cannot be pulled, or the credentials cannot be read.
        """
        # podman reports errors in a successful response, and podman-py's method ignores them.
        response = self._podman.api.post(
            "/images/pull",
            params={"reference": reference, "policy": "always", "quiet": True},
            headers=credentials_header(authfile),
        )
        response.raise_for_status()
        for line in response.text.splitlines():
            error = json.loads(line).get("error")
            if error:
                raise ImageError(f"The image {reference} cannot be pulled: {error}")

    def tag(self, reference: str) -> None:
        """Give an image the tag that is derived from its digest."""
        repository, _colon, tag = tag_of(reference).rpartition(":")
        self._podman.images.get(reference).tag(repository, tag)


def credentials_header(authfile: str | None) -> dict[str, str]:
    """Return the header with the credentials of a file; empty if there is no file.

    Raises:
        ImageError: The file cannot be read.
    """
    if not authfile or not os.path.exists(authfile):
        return {}
    try:
        with open(authfile, encoding="utf-8") as file:
            registries = json.load(file).get("auths") or {}
        logins = {name: _login(entry) for name, entry in registries.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ImageError(f"The credentials in {authfile} cannot be read: {error}") from error
    logins = {name: login for name, login in logins.items() if login}
    if not logins:
        return {}
    header = base64.urlsafe_b64encode(json.dumps(logins).encode())
    return {"X-Registry-Auth": header.decode()}


def _login(entry: Mapping[str, str]) -> dict[str, str]:
    encoded = entry.get("auth")
    if not encoded:
        token = entry.get("identitytoken")
        return {"identitytoken": token} if token else {}
    text = base64.b64decode("".join(encoded.split()), validate=True).decode()
    name, _colon, password = text.partition(":")
    return {"username": name, "password": password}


def _repository_of(name: str) -> str:
    name = name.partition("@")[0]
    repository, colon, tag = name.rpartition(":")
    return name if not colon or "/" in tag else repository


def _status(error: OSError) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def tag_of(reference: str) -> str:
    """Return a tag that is derived from the digest, so that no other image replaces it."""
    repository, _separator, digest = reference.partition("@sha256:")
    return f"{repository}:sha256-{digest[:16]}"


def bring(module: AnsibleModule, images: Images, reference: str) -> list[str]:
    """Remove unused images of the repository, then load or pull the image.

    Returns:
        The IDs of the removed images.

    Raises:
        ImageError: The image cannot be loaded or pulled.
    """
    removed = images.remove(reference.partition("@")[0], module.params["keep"])
    if module.params["archive"]:
        images.load(module.params["archive"])
        if not images.has(reference):
            raise ImageError(
                f"The archive was loaded, but podman has no image {reference}. "
                "Save the image again with: podman save --format oci-archive --uncompressed"
            )
    else:
        images.pull(reference, module.params["authfile"])
        if not images.has(reference):
            raise ImageError(
                f"The image was pulled, but podman has no image {reference}. "
                "Inspect `podman images --digests` on this host."
            )
    images.tag(reference)
    return removed


def present(module: AnsibleModule, reference: str) -> dict[str, Any]:
    """Ensure the image is present, and return the result of the module."""
    probe = module.params["probe"] or module.check_mode
    try:
        images = Images(podman_client(module))
    except PodmanUnavailable:
        # In check mode before the first rollout, podman is not installed yet.
        if not module.check_mode:
            raise
        return {"changed": True, "removed": []}
    missing = not images.has(reference)
    removed = bring(module, images, reference) if missing and not probe else []
    return {"changed": missing, "removed": removed}


def absent(module: AnsibleModule, reference: str) -> dict[str, Any]:
    """Ensure the unused images of the repository are absent, and return the module's result."""
    if not module.get_bin_path("podman"):
        return {"changed": False, "removed": []}
    repository = reference.partition("@")[0]
    images = Images(podman_client(module))
    probe = module.params["probe"] or module.check_mode
    act = images.unused if probe else images.remove
    removed = list(act(repository, module.params["keep"]))
    return {"changed": bool(removed), "removed": removed}


def main() -> None:
    """Ensure the image is present or absent."""
    module = AnsibleModule(
        argument_spec={
            "archive": {"type": "path"},
            "reference": {"type": "str"},
            "authfile": {"type": "path"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "keep": {"type": "list", "elements": "str", "default": []},
            "probe": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    reference = module.params["reference"] or ""
    if not REFERENCE.fullmatch(reference):
        module.fail_json(
            msg=f"The image {reference!r} is not addressed by its digest. "
            "Use the form NAME@sha256:DIGEST; "
            "'skopeo inspect --format {{.Digest}} docker://NAME:TAG' prints the digest."
        )
    act = present if module.params["state"] == "present" else absent
    try:
        result = act(module, reference)
    except (ImageError, PodmanUnavailable) as error:
        module.fail_json(msg=str(error))
    # podman-py's exceptions for error responses of podman are subclasses.
    except OSError as error:
        cause = getattr(error, "explanation", None) or error
        module.fail_json(msg=f"podman failed with the image {reference}: {cause}")
    module.exit_json(reference=reference, **result)


if __name__ == "__main__":
    main()
