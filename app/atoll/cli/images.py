"""The names of images as operators type them."""

from __future__ import annotations

from atoll.errors import UserError
from atoll.names import RepositoryName, parse_tag


def parse_image(image: str) -> tuple[RepositoryName, str]:
    """Return the repository and the tag or digest of an image.

    Raises:
        UserError: The image has no tag.
        InvalidName: The name or the tag is not valid.
    """
    name, at, digest = image.partition("@")
    if at:
        return RepositoryName.parse(name), digest
    name, colon, tag = image.rpartition(":")
    if not colon:
        raise UserError(f"'{image}' has no tag; write NAMESPACE/REPOSITORY:TAG")
    return RepositoryName.parse(name), parse_tag(tag)
