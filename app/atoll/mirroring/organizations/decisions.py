"""Decide what becomes of the repositories that an upstream lists, or listed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from atoll.mirroring.organizations.records import CONFLICT, SKIPPED
from atoll.names import NAME_MAXIMUM_LENGTH, RepositoryName

_NOT_LISTED = "the upstream no longer lists the repository"
_NOT_SELECTED = "repository_filters no longer select the repository"
_TAKEN = "a repository with this name exists and is not part of the mirror; delete or rename it"
_TOO_LONG = f"the name exceeds {NAME_MAXIMUM_LENGTH} characters with the organization"


@dataclass(frozen=True)
class Listing:
    """The repositories that the upstream lists, and what earlier discoveries recorded.

    All names are without the namespace.

    Attributes:
        known: The recorded states by names.
        selected: The repositories to mirror, by name.
        listed: All repositories of the namespace.
    """

    known: Mapping[str, str]
    selected: Sequence[str]
    listed: Collection[str]


@dataclass(frozen=True)
class Decision:
    """What becomes of each repository.

    Attributes:
        mirrored: The repositories that are mirrors, or are to be created as mirrors.
        new: Those of them that do not exist.
        resumed: Those of them that had been skipped.
        gone: Why repositories are not mirrored any more, by their names.
        conflicts: Why others cannot be mirrors, by their names.
        settled: Repositories that were conflicts, and that the upstream no longer lists.
    """

    mirrored: Sequence[str]
    new: Sequence[str]
    resumed: Sequence[str]
    gone: Mapping[str, str]
    conflicts: Mapping[str, str]
    settled: Sequence[str]


def fitting_names(organization: str, names: Sequence[str]) -> list[str]:
    """Return the names that are valid in an organization."""
    return [name for name in names if RepositoryName.fits(f"{organization}/{name}")]


def decide(organization: str, listing: Listing, existing: Mapping[str, bool]) -> Decision:
    """Return what becomes of each repository.

    Args:
        organization: The organization.
        listing: The repositories of the upstream.
        existing: Of the selected repositories with fitting names, those that exist, and whether
            they belong to the mirror.
    """
    known = listing.known
    fitting = fitting_names(organization, listing.selected)
    valid = set(fitting)
    mirrored = {name: None for name in fitting if existing.get(name, True)}
    conflicts = {name: _TOO_LONG for name in listing.selected if name not in valid}
    conflicts |= {name: _TAKEN for name in fitting if name not in mirrored}
    gone = {
        name: _NOT_SELECTED if name in listing.listed else _NOT_LISTED
        for name, state in known.items()
        if name not in mirrored and name not in conflicts and state != CONFLICT
    }
    settled = [
        name
        for name, state in known.items()
        if state == CONFLICT and name not in mirrored and name not in conflicts
    ]
    return Decision(
        list(mirrored),
        [name for name in mirrored if name not in existing],
        [name for name in mirrored if name in existing and known.get(name) == SKIPPED],
        gone,
        conflicts,
        settled,
    )
