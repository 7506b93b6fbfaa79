"""URI templates and resources of mirrors, which are optional."""

from __future__ import annotations

from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.mirroring.organizations.organization_status import OrganizationStatuses
from atoll.mirroring.status import MirrorStatuses
from atoll.upstream.limits import configured_limits
from atoll.web.api import mirror, mirror_health, organization_mirror, superuser_mirrors
from atoll.web.api.mirror import Mirroring
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.organization_mirror import OrganizationMirroring

Resources = list[tuple[str, object]]

_MIRROR = "/repository/{repository}/mirror"
_ORGANIZATION_MIRROR = "/organization/{orgname}/mirror"


def mirror_resources(
    mirroring: Mirroring, bundle: Bundle, database: Database, namespaces: Namespaces
) -> Resources:
    """Return the resources of mirrors of repositories."""
    mirrors, statuses = mirroring.mirrors, MirrorStatuses(database)
    health = mirroring.health
    return [
        ("/repository/mirror/health", mirror_health.RepositoryMirrorHealth(health, namespaces)),
        ("/superuser/mirror/health", mirror_health.SuperuserMirrorHealth(health)),
        ("/superuser/mirrors", superuser_mirrors.MirrorList(database)),
        (
            "/superuser/mirrors/upstreams",
            superuser_mirrors.UpstreamList(database, configured_limits(bundle)),
        ),
        (f"{_MIRROR}/sync-now", mirror.MirrorSync(mirrors)),
        (f"{_MIRROR}/sync-cancel", mirror.MirrorCancellation(mirrors)),
        (
            f"{_MIRROR}/verify",
            mirror.MirrorVerification(mirrors, mirroring.verification),
        ),
        (f"{_MIRROR}/plan", mirror.MirrorPlan(mirrors, mirroring.dry_runs)),
        (f"{_MIRROR}/confirm-deletions", mirror.MirrorDeletions(mirrors)),
        (f"{_MIRROR}/runs", mirror.MirrorRuns(mirrors, statuses)),
        (f"{_MIRROR}/tags", mirror.MirrorTags(statuses)),
        (
            _MIRROR,
            mirror.MirrorResource(mirrors, database, sparse_indexes=bundle.feature_sparse_index),
        ),
    ]


def organization_mirror_resources(
    mirroring: OrganizationMirroring, bundle: Bundle, database: Database, namespaces: Namespaces
) -> Resources:
    """Return the resources of mirrors of organizations."""
    mirrors, statuses = mirroring.mirrors, OrganizationStatuses(database)
    return [
        ("/superuser/mirrors/organizations", superuser_mirrors.OrganizationMirrorList(database)),
        (
            f"{_ORGANIZATION_MIRROR}/sync-now",
            organization_mirror.OrganizationMirrorSync(mirrors, namespaces),
        ),
        (
            f"{_ORGANIZATION_MIRROR}/sync-cancel",
            organization_mirror.OrganizationMirrorCancellation(mirrors, namespaces),
        ),
        (
            f"{_ORGANIZATION_MIRROR}/verify",
            organization_mirror.OrganizationMirrorVerification(mirroring, namespaces),
        ),
        (
            f"{_ORGANIZATION_MIRROR}/plan",
            organization_mirror.OrganizationMirrorPlan(mirroring, namespaces),
        ),
        (
            f"{_ORGANIZATION_MIRROR}/health",
            mirror_health.OrganizationMirrorHealth(mirroring.health, namespaces),
        ),
        (
            f"{_ORGANIZATION_MIRROR}/repositories",
            organization_mirror.OrganizationMirrorRepositories(statuses, namespaces),
        ),
        (
            _ORGANIZATION_MIRROR,
            organization_mirror.OrganizationMirrorResource(
                mirrors, statuses, namespaces, sparse_indexes=bundle.feature_sparse_index
            ),
        ),
    ]
