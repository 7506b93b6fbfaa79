"""The names of the distribution specification: repositories, tags and digests.

Everything that comes from outside is turned into one of these types at the edge, so that no
other part of Atoll has to ask again whether a name is well formed.
Grammar: OCI distribution-spec v1.1.1, "Pulling manifests"; image-spec v1.1, "Digests".
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import Protocol

from atoll.errors import UserError

NAME_MAXIMUM_LENGTH = 255
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"(?P<algorithm>[a-z0-9]+):(?P<hex>[a-f0-9]+)")
_HEX_LENGTHS = {"sha256": 64, "sha512": 128}

# The id that no repository has.
NO_REPOSITORY = 0
# Where a client names no namespace, Docker's custom is "library".
DEFAULT_NAMESPACE = "library"


class InvalidName(UserError, ValueError):
    """A repository name or a tag that the specification does not allow."""


class InvalidDigest(ValueError):
    """A digest that is not well formed, or of an algorithm that Atoll does not know."""


class Hash(Protocol):
    """The part of hashlib's interface that Atoll uses."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Add bytes to what is hashed."""

    def hexdigest(self) -> str:
        """Return the hash of what was added, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The content address of a blob or a manifest: algorithm and lower-case hexadecimal."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Return the digest that TEXT writes out, or raise InvalidDigest."""
        match = _DIGEST.fullmatch(text)
        if match is None or len(match["hex"]) != _HEX_LENGTHS.get(match["algorithm"], -1):
            known = " or ".join(_HEX_LENGTHS)
            raise InvalidDigest(
                f"'{text[:200]}' is not a digest; write {known}, a colon and hexadecimal"
            )
        return cls(match["algorithm"], match["hex"])

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """Return the digest of DATA."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    @classmethod
    def is_digest(cls, reference: str) -> bool:
        """Tell whether a manifest reference is a digest; a tag cannot hold a colon."""
        return ":" in reference

    def hasher(self) -> Hash:
        """Return a new hash object of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


@dataclass(frozen=True, slots=True)
class RepositoryName:
    """A repository's name: the namespace that owns it, and the rest of the path.

    With an `id` the name is bound: it means the repository with that id only, and no other one
    that has the same name later. Ids are positive; NO_REPOSITORY binds a name to nothing.
    """

    namespace: str
    name: str
    id: int | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, text: str) -> RepositoryName:
        """Return the repository that TEXT names, or raise InvalidName.

        A name of one component belongs to the namespace "library", as with Docker and Quay.
        """
        if not cls.fits(text):
            raise InvalidName(
                f"'{text[:200]}' is not a repository name; use lower-case letters, digits,"
                " and . _ - between them, in components separated by /"
            )
        namespace, slash, name = text.partition("/")
        return cls(namespace, name) if slash else cls(DEFAULT_NAMESPACE, namespace)

    @staticmethod
    def fits(text: str) -> bool:
        """Tell whether TEXT is a repository's name."""
        return len(text) <= NAME_MAXIMUM_LENGTH and _NAME.fullmatch(text) is not None

    def bound(self, repository_id: int) -> RepositoryName:
        """Return the same name for the repository with this id only."""
        return replace(self, id=repository_id)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def is_tag(text: str) -> bool:
    """Tell whether TEXT is a tag."""
    return _TAG.fullmatch(text) is not None


def parse_tag(text: str) -> str:
    """Return TEXT if it is a tag, or raise InvalidName."""
    if not is_tag(text):
        raise InvalidName(f"'{text[:200]}' is not a tag; use at most 128 letters, digits and . _ -")
    return text
