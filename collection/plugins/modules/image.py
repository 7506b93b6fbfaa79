#!/usr/bin/python
"""Ansible module: an image in a host's podman store, addressed by its digest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image
short_description: Bring a container image to a host, addressed by its digest
description:
  - Brings an image into podman's store on a host, either from an OCI archive on the controller
    or from any registry.
  - The image is always addressed by its digest. The digest of an archive is read from the archive
    itself, so nobody copies digests by hand.
  - An archive is sent only to a host that lacks the image, and removed there after it is loaded.
  - Before a new image is brought, those of the same repository that no container uses are removed.
    The image that runs stays, so that there is a way back.
version_added: 0.1.0
options:
  archive:
    description:
      - OCI archive on the controller, as C(podman save --format oci-archive) writes it.
      - Excludes O(reference).
    type: path
  reference:
    description:
      - The image as C(NAME@sha256:DIGEST), pulled from the registry in its name if it is not there.
    type: str
  authfile:
    description:
      - File on the host with the credentials of registries, in podman's format.
      - Where the file does not exist, images are pulled without credentials.
    type: path
  state:
    description:
      - V(present) brings the image.
      - V(absent) removes each image of the same repository.
    type: str
    choices: [present, absent]
    default: present
  keep:
    description: Other images, as C(NAME@sha256:DIGEST), that stay although no container uses them.
    type: list
    elements: str
    default: []
  probe:
    description: Only tell whether something would change. Used by the action on the controller.
    type: bool
    default: false
attributes:
  check_mode:
    description: Tells what it would change, and changes nothing.
    support: full
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Bring the image from an archive on the controller
  atoll.registry.image:
    archive: /srv/images/registry.tar
  register: registry_image_result

- name: Pull the image from a registry
  atoll.registry.image:
    reference: quay.example.org/atoll/registry@sha256:0f1e...
    authfile: /etc/atoll/auth.json
"""

RETURN = r"""
reference:
  description: The image as NAME@DIGEST, to be used in a unit.
  returned: always
  type: str
removed:
  description: Images that were removed because no container used them.
  returned: always
  type: list
  elements: str
"""

import json
import os
import re

from ansible.module_utils.basic import AnsibleModule

REFERENCE = re.compile(r"(?P<repository>[^@\s]+)@sha256:(?P<digest>[0-9a-f]{64})")


class Podman:
    """The few podman commands that are needed here."""

    def __init__(self, module):
        self.module = module
        self.program = module.get_bin_path("podman")

    def run(self, *arguments):
        """Run a command that must succeed."""
        code, output, error = self.module.run_command([self.program, *arguments])
        if code:
            self.module.fail_json(
                msg=f"podman {arguments[0]} failed: {error.strip() or output.strip()}"
            )
        return output

    def has(self, reference):
        """Tell whether the image is in the store."""
        code, _output, _error = self.module.run_command(
            [self.program, "image", "exists", reference]
        )
        return code == 0

    def images_of(self, repository):
        """Map each image of a repository to the digests it is known by."""
        images = json.loads(self.run("image", "ls", "--format", "json"))
        found = {}
        for image in images:
            names = (image.get("Names") or []) + (image.get("RepoDigests") or [])
            if any(_repository_of(name) == repository for name in names):
                found.setdefault(image["Id"], set()).update(image.get("RepoDigests") or [])
        return found

    def used(self):
        """Return the images that a container uses, be it stopped."""
        return set(self.run("ps", "--all", "--no-trunc", "--format", "{{.ImageID}}").split())


def _repository_of(name):
    name = name.split("@")[0]
    repository, colon, tag = name.rpartition(":")
    return name if not colon or "/" in tag else repository


def tag_of(reference):
    """Return a tag that only this digest ever gets, so that the next image leaves it alone."""
    match = REFERENCE.fullmatch(reference)
    return f"{match['repository']}:sha256-{match['digest'][:16]}"


def bring(module, podman, reference):
    """Load or pull the image, after the unused ones of its repository are gone."""
    removed = []
    repository = REFERENCE.fullmatch(reference)["repository"]
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
            msg=f"The archive was loaded, but podman does not know {reference}. "
            "Save the image again with: podman save --format oci-archive --uncompressed"
        )
    podman.run("tag", reference, tag_of(reference))
    return removed


def remove(podman, repository, probe):
    """Remove all images of a repository."""
    images = list(podman.images_of(repository)) if podman.program else []
    if not probe:
        for image in images:
            podman.run("image", "rm", "--force", image)
    return images


def main():
    """Bring or remove an image."""
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
    match = REFERENCE.fullmatch(reference)
    if not match:
        module.fail_json(
            msg=f"The image {reference!r} is not addressed by its digest. "
            "Write NAME@sha256:DIGEST; "
            "'skopeo inspect --format {{.Digest}} docker://NAME:TAG' tells the digest."
        )
    podman = Podman(module)
    probe = module.params["probe"] or module.check_mode

    if module.params["state"] == "absent":
        removed = remove(podman, match["repository"], probe)
        module.exit_json(changed=bool(removed), reference=reference, removed=removed)

    # Where podman itself is still missing (a first rollout that is only checked), so is the image.
    missing = not podman.program or not podman.has(reference)
    removed = bring(module, podman, reference) if missing and not probe else []
    module.exit_json(changed=missing, reference=reference, removed=removed)


if __name__ == "__main__":
    main()
