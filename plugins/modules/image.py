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
version_added: 0.1.0
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
      - File on the host with credentials for registries, in podman's format.
      - If the file does not exist, the image is pulled without credentials.
    type: path
  state:
    description:
      - V(present) ensures that the image exists.
      - V(absent) removes all images of the same repository.
    type: str
    choices: [present, absent]
    default: present
  keep:
    description: Unused images to keep, as C(NAME@sha256:DIGEST).
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
  description: IDs of the images that were removed.
  returned: always
  type: list
  elements: str
"""

import json
import os
import re

from ansible.module_utils.basic import AnsibleModule

REFERENCE = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")


class Podman:
    """The podman commands of this module."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.program = module.get_bin_path("podman")

    def run(self, *arguments: str) -> str:
        """Return the output of a command; fail the task if the command fails."""
        output: str
        code, output, error = self.module.run_command([self.program, *arguments])
        if code:
            self.module.fail_json(
                msg=f"podman {arguments[0]} failed: {error.strip() or output.strip()}"
            )
        return output

    def has(self, reference: str) -> bool:
        """Return whether the image is in the storage."""
        code, _output, _error = self.module.run_command(
            [self.program, "image", "exists", reference]
        )
        return bool(code == 0)

    def images_of(self, repository: str) -> dict[str, set[str]]:
        """Return the references by digest of each image of a repository, by image ID."""
        images = json.loads(self.run("image", "ls", "--format", "json"))
        found: dict[str, set[str]] = {}
        for image in images:
            names = (image.get("Names") or []) + (image.get("RepoDigests") or [])
            if any(_repository_of(name) == repository for name in names):
                found.setdefault(image["Id"], set()).update(image.get("RepoDigests") or [])
        return found

    def used(self) -> set[str]:
        """Return the IDs of the images of all containers, including stopped ones."""
        return set(self.run("ps", "--all", "--no-trunc", "--format", "{{.ImageID}}").split())


def _repository_of(name: str) -> str:
    name = name.partition("@")[0]
    repository, colon, tag = name.rpartition(":")
    return name if not colon or "/" in tag else repository


def tag_of(reference: str) -> str:
    """Return a tag that is derived from the digest, so that no other image replaces it."""
    repository, _separator, digest = reference.partition("@sha256:")
    return f"{repository}:sha256-{digest[:16]}"


def bring(module: AnsibleModule, podman: Podman, reference: str) -> list[str]:
    """Remove unused images of the repository, then load or pull the image.

    Returns:
        The IDs of the removed images.
    """
    removed = []
    repository = reference.partition("@")[0]
    used = podman.used()
    for image, digests in podman.images_of(repository).items():
        if image not in used and not digests.intersection(module.params["keep"]):
            podman.run("image", "rm", "--force", image)
            removed.append(image)
    if module.params["archive"]:
        podman.run("load", "--quiet", "--input", module.params["archive"])
    else:
        authfile = module.params["authfile"]
        credentials = ["--authfile", authfile] if authfile and os.path.exists(authfile) else []
        podman.run("pull", "--quiet", *credentials, reference)
    if not podman.has(reference):
        module.fail_json(
            msg=f"The archive was loaded, but podman has no image {reference}. "
            "Save the image again with: podman save --format oci-archive --uncompressed"
        )
    podman.run("tag", reference, tag_of(reference))
    return removed


def remove(podman: Podman, repository: str, *, probe: bool) -> list[str]:
    """Remove all images of a repository unless `probe`, and return their IDs."""
    images = list(podman.images_of(repository)) if podman.program else []
    if not probe:
        for image in images:
            podman.run("image", "rm", "--force", image)
    return images


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
    podman = Podman(module)
    probe = module.params["probe"] or module.check_mode

    if module.params["state"] == "absent":
        removed = remove(podman, reference.partition("@")[0], probe=probe)
        module.exit_json(changed=bool(removed), reference=reference, removed=removed)

    # If podman is not installed yet, in check mode before the first rollout, the image is missing.
    missing = not podman.program or not podman.has(reference)
    removed = bring(module, podman, reference) if missing and not probe else []
    module.exit_json(changed=missing, reference=reference, removed=removed)


if __name__ == "__main__":
    main()
