"""Names of the distribution specification: repositories, tags and digests.

Input is converted to these types at the edge, so that no other part of Atoll validates names.
Grammar: OCI distribution-spec v1.1.1, "Pulling manifests"; image-spec v1.1, "Digests".
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Protocol

from atoll.errors import UserError

NAME_MAXIMUM_LENGTH = 255
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"(?P<algorithm>[a-z0-9]+):(?P<hex>[a-f0-9]+)")
_HEX_LENGTHS = {"sha256": 64, "sha512": 128}

# An id that no repository has.
NO_REPOSITORY = 0
# The namespace of names that have only one component, as in Docker.
DEFAULT_NAMESPACE = "library"


class InvalidName(UserError, ValueError):
    """A repository name or tag does not match the specification's grammar."""


class InvalidDigest(ValueError):
    """A digest is malformed, or has an unsupported algorithm."""


class Hash(Protocol):
    """The part of hashlib's interface that Atoll uses."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Feed bytes to the hash."""

    def hexdigest(self) -> str:
        """Return the hash in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The content address of a blob or manifest: algorithm and lower-case hexadecimal."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Parse a digest of the form `algorithm:hexadecimal`.

        Raises:
            InvalidDigest: The text is malformed, or the algorithm is not supported.
        """
        match = _DIGEST.fullmatch(text)
        if match is None or len(match["hex"]) != _HEX_LENGTHS.get(match["algorithm"], -1):
            supported = " or ".join(_HEX_LENGTHS)
            raise InvalidDigest(
                f"'{text[:200]}' is not a valid digest; use {supported}, a colon and lower-case"
                " hexadecimal"
            )
        return cls(match["algorithm"], match["hex"])

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """Compute the digest of data."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    @classmethod
    def is_digest(cls, reference: str) -> bool:
        """Return whether a manifest reference is a digest; tags cannot contain a colon."""
        return ":" in reference

    def hasher(self) -> Hash:
        """Return a new hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


@dataclass(frozen=True, slots=True)
class RepositoryName:
    """The name of a repository: its namespace, and the rest of the path.

    A name with an `id` is bound: it refers to the repository with that id only, not to one that
    gets the same name later. Ids are positive; a name bound to NO_REPOSITORY refers to nothing.
    """

    namespace: str
    name: str
    id: int | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, text: str) -> RepositoryName:
        """Parse a repository name.

        A name of one component belongs to the namespace "library", as in Docker and Quay.

        Raises:
            InvalidName: The text is not a valid name.
        """
        if not cls.fits(text):
            raise InvalidName(
                f"'{text[:200]}' is not a valid repository name; use components of lower-case"
                " letters and digits, separated by . _ or -, and join them with /"
            )
        namespace, slash, name = text.partition("/")
        return cls(namespace, name) if slash else cls(DEFAULT_NAMESPACE, namespace)

    @staticmethod
    def fits(text: str) -> bool:
        """Return whether the text is a valid repository name."""
        return len(text) <= NAME_MAXIMUM_LENGTH and _NAME.fullmatch(text) is not None

    def bound(self, repository_id: int) -> RepositoryName:
        """Bind the name to the repository with this id."""
        return RepositoryName(self.namespace, self.name, repository_id)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def is_tag(text: str) -> bool:
    """Return whether the text is a valid tag."""
    return _TAG.fullmatch(text) is not None


def parse_tag(text: str) -> str:
    """Validate a tag and return it unchanged.

    Raises:
        InvalidName: The text is not a valid tag.
    """
    if not is_tag(text):
        raise InvalidName(
            f"'{text[:200]}' is not a valid tag; use at most 128 letters, digits and . _ -"
        )
    return text
