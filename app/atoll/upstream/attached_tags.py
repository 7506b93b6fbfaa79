"""Tags that are derived from the digest of a manifest."""

from __future__ import annotations

import re
from collections.abc import Container

from atoll.names import Digest

# What cosign attaches to an image: its signature, attestation and SBOM.
_KINDS = ("sig", "att", "sbom")
_ATTACHED = re.compile(rf"sha256-[0-9a-f]{{64}}\.({'|'.join(_KINDS)})")


def fallback_tag(digest: Digest) -> str:
    """Return the tag of the index of referrers at registries without the referrers API."""
    return f"{digest.algorithm}-{digest.hex}"


def attached_tags(digest: Digest, tags: Container[str]) -> list[str]:
    """Return the tags that belong to a manifest by their names.

    These are the index of its referrers, and the signature, attestation and SBOM of cosign.

    Args:
        digest: The digest of the manifest.
        tags: The tags of the repository.
    """
    name = fallback_tag(digest)
    names = [name, *(f"{name}.{kind}" for kind in _KINDS)]
    return [name for name in names if name in tags]


def is_attached_tag(tag: str) -> bool:
    """Return whether a tag is one that cosign derives from some digest."""
    return _ATTACHED.fullmatch(tag) is not None
