"""Mirrors of organizations in the database, as the API creates them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from atoll.auth.users import create_organization
from atoll.mirroring.organizations.discoveries import Discoveries, DiscoveryClaim
from atoll.mirroring.organizations.organization_mirrors import (
    OrganizationMirrorChange,
    OrganizationMirrors,
)
from atoll.mirroring.organizations.reconciliation import Reconciled, Reconciliation
from atoll.outbound.policy import DestinationPolicy, Rules
from atoll.upstream.upstreams import Upstreams

from .mirrored import make_robot
from .sites import SUPERUSER, MemorySite

ORGANIZATION = "acme"
ROBOT = f"{ORGANIZATION}+mirror"
START = datetime(2026, 1, 1, tzinfo=UTC)
PASSWORD = "sesame: 100 %"
NEW: OrganizationMirrorChange = {
    "external_registry_type": "quay",
    "external_registry_url": "https://quay.example.com",
    "external_namespace": "team",
    "robot_username": ROBOT,
    "external_registry_username": "$oauthtoken",
    "external_registry_password": PASSWORD,
    "visibility": "private",
    "sync_interval": 3600,
    "sync_start_date": START,
}


def organization_mirrors(site: MemorySite) -> OrganizationMirrors:
    """Return the mirrors of a site; upstreams may be at 127.0.0.1."""
    policy = DestinationPolicy(Rules.of(["127.0.0.1"]))
    return OrganizationMirrors(site.database, site.graph.cipher, Upstreams(policy).check)


def make_organization(site: MemorySite, name: str = ORGANIZATION) -> None:
    """Create an organization with a robot."""
    assert create_organization(site.database, name, SUPERUSER)
    make_robot(site, f"{name}+mirror")


def make_organization_mirror(
    site: MemorySite, change: OrganizationMirrorChange | None = None
) -> OrganizationMirrors:
    """Create an organization that is a mirror.

    Args:
        site: The site.
        change: Settings that differ from those of NEW.
    """
    make_organization(site)
    mirrors = organization_mirrors(site)
    mirrors.create(ORGANIZATION, {**NEW, **(change or {})})
    return mirrors


def claimed(site: MemorySite, *, request: bool = False) -> DiscoveryClaim:
    """Make the discovery due, or request it, and claim it."""
    if request:
        organization_mirrors(site).request_sync(ORGANIZATION)
    else:
        site.database.run("UPDATE orgmirrorconfig SET next_at = now() - interval '1 s'", {})
    found = Discoveries(site.database).claim(None, [])
    assert found is not None
    return found[1]


def discover(
    site: MemorySite, *names: str, unselected: Collection[str] = (), request: bool = False
) -> Reconciled:
    """Discover repositories.

    Args:
        site: The site.
        names: The repositories to mirror.
        unselected: Others that the upstream lists.
        request: Whether the discovery is requested.
    """
    claim = claimed(site, request=request)
    reconciliation = Reconciliation(site.database, site.graph.cipher)
    return reconciliation.apply(claim, names, [*names, *unselected])
