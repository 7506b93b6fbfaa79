"""Errors of mirrors that users can correct."""

from __future__ import annotations

from atoll.errors import UserError
from atoll.names import RepositoryName


class MirrorUnknown(UserError):
    """The repository is no mirror."""


def mirror_unknown(repository: RepositoryName) -> MirrorUnknown:
    """Return the error for a repository that is no mirror."""
    return MirrorUnknown(f"the repository '{repository}' is no mirror")


class MirrorExists(UserError):
    """The repository is a mirror already."""


class InvalidMirror(UserError):
    """A setting is not valid.

    Attributes:
        field: Its name in the API.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class NothingToConfirm(UserError):
    """No run failed because it would have deleted too many tags."""


class MirrorInactive(UserError):
    """The state of the repository does not permit runs of its mirror."""


class MirroredOrganization(UserError):
    """The organization is a mirror, whose repositories have no settings of their own."""


class OrganizationMirrorUnknown(UserError):
    """The organization is no mirror."""


def organization_mirror_unknown(organization: str) -> OrganizationMirrorUnknown:
    """Return the error for an organization that is no mirror."""
    return OrganizationMirrorUnknown(f"the organization '{organization}' is no mirror")


class OrganizationMirrorRefused(UserError):
    """The organization cannot become a mirror, or its mirror cannot do that now."""
