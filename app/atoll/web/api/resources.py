"""URI templates and resources of the API; the first template that matches a path has precedence.

Modules of optional features are imported if the bundle enables these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.audit.export_requests import PATH as EXPORTS_PATH
from atoll.audit.export_requests import LogExports
from atoll.audit.log import Audit
from atoll.audit.statistics import PullStatistics
from atoll.auth.access import Access
from atoll.auth.api_tokens import ApiTokens, AppTokens
from atoll.auth.application_tokens import ApplicationTokens
from atoll.auth.applications import Applications
from atoll.auth.assigned_authorizations import AssignedAuthorizations
from atoll.auth.entities import Entities
from atoll.auth.organizations import Organizations
from atoll.auth.permissions import TEAM, USER, Permissions, Prototypes
from atoll.auth.robot_rule import RobotRule
from atoll.auth.robots import Robots
from atoll.auth.secrets import Cipher
from atoll.auth.sessions import Sessions
from atoll.auth.throttle import Throttle
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.db.shared_redis import SharedRedis
from atoll.notifications.authorized_addresses import PATH as AUTHORIZATION_PATH
from atoll.notifications.authorized_addresses import AuthorizedAddresses
from atoll.notifications.mailer import Mailer
from atoll.notifications.notices import Notices
from atoll.notifications.receivers import Receivers
from atoll.notifications.subscriptions import Notifications
from atoll.placement.locations.life_cycle import LocationLifeCycle
from atoll.placement.locations.states import LocationTable
from atoll.placement.policies import Policies
from atoll.placement.upkeep.bounded_backfill import BoundedBackfill
from atoll.placement.upkeep.failing_tasks import FailingTasks
from atoll.registry.banners import Banners
from atoll.registry.blobs import Blobs
from atoll.registry.image_completeness import ImageCompleteness
from atoll.registry.image_details import ImageDetails
from atoll.registry.labels import Labels
from atoll.registry.manifests import Manifests
from atoll.registry.namespace_deletion import NamespaceDeletion
from atoll.registry.referrer_tree import ReferrerTree
from atoll.registry.repositories import Repositories
from atoll.registry.repository_queries import RepositoryQueries
from atoll.registry.search import Search
from atoll.registry.stars import Stars
from atoll.registry.tag_history import TagHistory
from atoll.registry.tags import Tags
from atoll.web.api import (
    application,
    application_token,
    assignment,
    authorized_email,
    image,
    location,
    log,
    log_export,
    manifest,
    message,
    notification,
    oauth,
    permission,
    prototype,
    replication,
    replication_policy,
    replication_work,
    robot,
    session,
    star,
    superuser,
    tag,
    team,
    user_notification,
)
from atoll.web.api.app_token import AppTokenList, AppTokenResource
from atoll.web.api.authorization import AuthorizationList, AuthorizationResource
from atoll.web.api.capability import Capabilities
from atoll.web.api.cookies import Cookies
from atoll.web.api.entity import EntitySearch
from atoll.web.api.find import FindAll, FindRepositories, SearchSlots
from atoll.web.api.garbage import SuperuserGarbage
from atoll.web.api.instance import InstanceList
from atoll.web.api.middleware import PREFIX, ApiMiddleware
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.openapi import OpenApiDocument
from atoll.web.api.organization import (
    OrganizationCollaborators,
    OrganizationList,
    OrganizationMembers,
    OrganizationResource,
)
from atoll.web.api.pull_statistics import ManifestPullStatistics, TagPullStatistics
from atoll.web.api.repository import RepositoryList, RepositoryResource, State, Visibility
from atoll.web.api.superuser_config import SuperuserConfig
from atoll.web.api.superuser_guarantees import SuperuserGuarantees
from atoll.web.api.superuser_health import SuperuserHealth
from atoll.web.api.user import CurrentUser, Initialize
from atoll.web.api.verification import SuperuserVerification
from atoll.web.external_url import ExternalUrls

if TYPE_CHECKING:
    from atoll.scanning.reports import SecurityReports
    from atoll.web.api.mirror import Mirroring
    from atoll.web.api.organization_mirror import OrganizationMirroring

Resources = list[tuple[str, object]]

_TAG = "/repository/{repository}/tag/{tag}"
_MANIFEST = "/repository/{repository}/manifest/{digest}"


@dataclass(frozen=True)
class Api:
    """The routes of the API, as (URI template, resource), and their middleware."""

    routes: Resources
    middleware: ApiMiddleware


def create_api(
    *,
    bundle: Bundle,
    database: Database,
    redis: SharedRedis,
    cipher: Cipher,
    access: Access,
    throttle: Throttle,
    repositories: Repositories,
    manifests: Manifests,
    blobs: Blobs,
    life_cycle: Callable[[], LocationLifeCycle],
    tags: Tags,
    receivers: Receivers,
    mailer: Mailer,
    log_exports: LogExports,
    mirroring: Mirroring | None,
    organization_mirroring: OrganizationMirroring | None,
    security: SecurityReports | None,
    external_urls: ExternalUrls,
    environment: Mapping[str, str],
) -> Api:
    """Return the resources below `/api/v1`, and those that Quay serves outside of it."""
    audit = Audit(database)
    organizations = Organizations(database)
    namespaces = Namespaces(organizations, bundle)
    removal = NamespaceDeletion(database, redis)
    listing, slots = RepositoryQueries(database, bundle.default_tag_expiration), SearchSlots()
    batch_slot = location.BatchSlot()
    history = TagHistory(database, redis, bundle.default_tag_expiration)
    api_tokens = ApiTokens(database)
    stars, messages = Stars(database), Banners(database)
    applications = Applications(database, cipher)
    assigned = AssignedAuthorizations(database)
    sessions = Sessions.from_bundle(bundle)
    cookies = Cookies(sessions, bundle)
    login = session.PasswordLogin(access, sessions, bundle)
    addresses = (
        AuthorizedAddresses.from_bundle(bundle, database, mailer)
        if bundle.feature_mailing
        else None
    )
    resources: Resources = [
        ("/signin", session.SignIn(login, cookies)),
        ("/signout", session.SignOut()),
        ("/user/authorizations", AuthorizationList(api_tokens)),
        ("/user/authorizations/{uuid}", AuthorizationResource(api_tokens)),
        ("/user/assignedauthorizations", assignment.AssignedAuthorizationList(assigned)),
        ("/user/assignedauthorizations/{uuid}", assignment.AssignedAuthorizationResource(assigned)),
        *_applications(applications, ApplicationTokens(database), namespaces),
        ("/user/initialize", Initialize(database, bundle, cipher, api_tokens)),
        *_exports(log_exports, receivers, namespaces, bundle),
        *_logs(audit, namespaces, bundle),
        (
            "/user/",
            CurrentUser(database, access, organizations, removal, bundle, throttle=throttle),
        ),
        ("/find/repositories", FindRepositories(listing, namespaces, slots)),
        ("/find/all", FindAll(listing, Search(database), namespaces, slots)),
        ("/registry/capabilities", Capabilities(bundle)),
        *_optional(bundle, environment, manifests, database, security),
        *_mirrors(mirroring, bundle, database, namespaces),
        *_organization_mirrors(organization_mirroring, bundle, database, namespaces),
        ("/superuser/health", SuperuserHealth(database)),
        ("/superuser/instances", InstanceList(database)),
        ("/superuser/garbage", SuperuserGarbage(database, bundle)),
        ("/superuser/guarantees", SuperuserGuarantees(database, bundle)),
        ("/superuser/verification", SuperuserVerification(database, bundle)),
        *_superuser_replication(database, bundle, batch_slot),
        *_locations(database, bundle, life_cycle, batch_slot),
        ("/superuser/takeownership/{namespace}", superuser.TakeOwnership(database, bundle)),
        ("/superuser/users/", superuser.SuperuserUserList(database, cipher, bundle)),
        ("/superuser/users/{username}", superuser.SuperuserUser(database, removal, bundle)),
        ("/superuser/organizations/", superuser.SuperuserOrganizationList(organizations)),
        (
            "/superuser/organizations/{orgname}",
            superuser.SuperuserOrganization(database, organizations, removal),
        ),
        ("/organization/", OrganizationList(database, bundle)),
        ("/organization/{orgname}/members", OrganizationMembers(organizations, namespaces)),
        (
            "/organization/{orgname}/collaborators",
            OrganizationCollaborators(organizations, namespaces),
        ),
        *_teams(organizations, namespaces),
        *_prototypes(Prototypes(database), namespaces),
        *_robots(Robots(database, cipher, RobotRule.from_bundle(bundle)), namespaces),
        (
            "/organization/{orgname}",
            OrganizationResource(database, organizations, namespaces, removal, bundle),
        ),
        *_replication(database, bundle, namespaces),
        *_tags(database, history, tags, bundle),
        *_manifests(database, Labels(database), manifests, blobs, tags),
        *_permissions(Permissions(database)),
        *_notifications(
            Notifications(database, cipher),
            receivers,
            Notices(database),
            addresses,
            vulnerabilities=bundle.feature_security_notifications,
        ),
        ("/repository/{repository}/changevisibility", Visibility(listing)),
        (
            "/repository/{repository}/changestate",
            State(listing, database, mirrors=bundle.feature_repo_mirror),
        ),
        ("/user/starred", star.StarList(stars, listing, access)),
        ("/user/starred/{repository}", star.StarResource(stars)),
        ("/entities/{prefix}", EntitySearch(Entities(database))),
        ("/messages", message.MessageList(messages)),
        ("/message/{uuid}", message.MessageResource(messages)),
        ("/repository", RepositoryList(repositories, listing, namespaces)),
        ("/repository/{repository}", RepositoryResource(listing, history, removal)),
    ]
    if bundle.feature_app_specific_tokens:
        app_tokens = AppTokens(database, cipher, bundle)
        resources.append(("/user/apptoken", AppTokenList(app_tokens)))
        resources.append(("/user/apptoken/{uuid}", AppTokenResource(app_tokens)))
    described = OpenApiDocument(resources)
    resources = [*resources, ("/discovery", described), ("/openapi.json", described)]
    requests = oauth.AuthorizationRequests(applications, external_urls, bundle)
    # Quay serves these outside of `/api/v1`, and scripts use them.
    pages: Resources = [
        ("/csrf_token", session.CsrfToken(sessions, cookies)),
        ("/oauth/authorize", oauth.Authorize(requests)),
        (
            "/oauth/authorizeapp",
            oauth.AuthorizeApplication(requests, api_tokens, assigned, namespaces),
        ),
        (oauth.LOCAL, oauth.LocalApplication()),
    ]
    if addresses is not None:
        pages.append((AUTHORIZATION_PATH, authorized_email.ConfirmationLink(addresses)))
    if bundle.feature_log_export:
        pages.append((EXPORTS_PATH, log_export.ExportedLogs(log_exports)))
    if bundle.feature_assign_oauth_token:
        assigning = assignment.AssignUser(assigned, requests, namespaces)
        pages.append(("/oauth/authorize/assignuser", assigning))
    middleware = ApiMiddleware(
        access,
        audit,
        external_urls,
        cookies,
        read_only=bundle.read_only,
        anonymous=bundle.feature_anonymous_access,
    )
    return Api([*((PREFIX + path, one) for path, one in resources), *pages], middleware)


def _optional(
    bundle: Bundle,
    environment: Mapping[str, str],
    manifests: Manifests,
    database: Database,
    security: SecurityReports | None,
) -> Resources:
    """Return the resources of optional features; as in Quay, disabled ones are not found."""
    resources: Resources = []
    if bundle.feature_superuser_configdump:
        resources.append(("/superuser/config", SuperuserConfig(bundle, environment)))
    if security is not None:
        from atoll.web.api.security import ManifestSecurity

        resources.append((f"{_MANIFEST}/security", ManifestSecurity(manifests, security)))
    if bundle.feature_image_pull_stats:
        collaborators = (PullStatistics(database), manifests)
        resources.append((f"{_TAG}/pull_statistics", TagPullStatistics(*collaborators)))
        resources.append((f"{_MANIFEST}/pull_statistics", ManifestPullStatistics(*collaborators)))
    return resources


def _mirrors(
    mirroring: Mirroring | None, bundle: Bundle, database: Database, namespaces: Namespaces
) -> Resources:
    if mirroring is None:
        return []
    from atoll.web.api.mirror_resources import mirror_resources

    return mirror_resources(mirroring, bundle, database, namespaces)


def _organization_mirrors(
    mirroring: OrganizationMirroring | None,
    bundle: Bundle,
    database: Database,
    namespaces: Namespaces,
) -> Resources:
    if mirroring is None:
        return []
    from atoll.web.api.mirror_resources import organization_mirror_resources

    return organization_mirror_resources(mirroring, bundle, database, namespaces)


def _applications(
    applications: Applications, tokens: ApplicationTokens, namespaces: Namespaces
) -> Resources:
    base = "/organization/{orgname}/applications"
    one = f"{base}/{{client_id}}"
    collaborators = (tokens, applications, namespaces)
    return [
        (f"{one}/tokens/{{uuid}}", application_token.ApplicationTokenResource(*collaborators)),
        (f"{one}/tokens", application_token.ApplicationTokenList(*collaborators)),
        (f"{one}/resetclientsecret", application.ApplicationSecret(applications, namespaces)),
        (one, application.ApplicationResource(applications, namespaces)),
        (base, application.ApplicationList(applications, namespaces)),
        ("/app/{client_id}", application.ApplicationInformation(applications)),
    ]


def _exports(
    exports: LogExports,
    receivers: Receivers,
    namespaces: Namespaces,
    bundle: Bundle,
) -> Resources:
    if not bundle.feature_log_export:
        return []
    export = log_export.ExportCreator(exports, receivers)
    return [
        ("/user/exportlogs", log_export.ExportUserLogs(export, allowed=_user_logs(bundle))),
        (
            "/organization/{orgname}/exportlogs",
            log_export.ExportOrganizationLogs(export, namespaces),
        ),
        ("/repository/{repository}/exportlogs", log_export.ExportRepositoryLogs(export)),
    ]


def _user_logs(bundle: Bundle) -> bool:
    return bundle.feature_user_log_access is not False


def _logs(audit: Audit, namespaces: Namespaces, bundle: Bundle) -> Resources:
    allowed = _user_logs(bundle)
    return [
        ("/user/logs", log.UserLogs(audit, allowed=allowed)),
        ("/user/aggregatelogs", log.UserCounts(audit, allowed=allowed)),
        ("/superuser/logs", log.SuperuserLogs(audit)),
        ("/superuser/aggregatelogs", log.SuperuserCounts(audit)),
        ("/organization/{orgname}/logs", log.OrganizationLogs(audit, namespaces)),
        ("/organization/{orgname}/aggregatelogs", log.OrganizationCounts(audit, namespaces)),
        ("/repository/{repository}/logs", log.RepositoryLogs(audit)),
        ("/repository/{repository}/aggregatelogs", log.RepositoryCounts(audit)),
    ]


def _teams(organizations: Organizations, namespaces: Namespaces) -> Resources:
    base = "/organization/{orgname}/team/{teamname}"
    return [
        (f"{base}/members/{{membername}}", team.TeamMember(organizations, namespaces)),
        (f"{base}/members", team.TeamMembers(organizations, namespaces)),
        (f"{base}/permissions", team.TeamPermissions(organizations, namespaces)),
        (base, team.TeamResource(organizations, namespaces)),
    ]


def _prototypes(prototypes: Prototypes, namespaces: Namespaces) -> Resources:
    base = "/organization/{orgname}/prototypes"
    return [
        (f"{base}/{{uuid}}", prototype.PrototypeResource(prototypes, namespaces)),
        (base, prototype.PrototypeList(prototypes, namespaces)),
    ]


def _robots(robots: Robots, namespaces: Namespaces) -> Resources:
    resources: Resources = []
    for base in ("/organization/{orgname}/robots", "/user/robots"):
        one = f"{base}/{{robot_shortname}}"
        resources += [
            (f"{one}/regenerate", robot.RegenerateRobot(robots, namespaces)),
            (f"{one}/permissions", robot.RobotPermissions(robots, namespaces)),
            (one, robot.RobotResource(robots, namespaces)),
            (base, robot.RobotList(robots, namespaces)),
        ]
    return resources


def _replication(database: Database, bundle: Bundle, namespaces: Namespaces) -> Resources:
    required = bundle.required_locations
    policies = Policies(database, required)
    repository = "/repository/{repository}"
    return [
        (
            "/organization/{orgname}/replicationpolicy",
            replication_policy.OrganizationPolicy(policies, namespaces),
        ),
        (f"{repository}/replicationpolicy", replication_policy.RepositoryPolicy(policies)),
        (
            f"{repository}/tag/{{tag}}/replication",
            replication_policy.TagReplication(database, required),
        ),
        (
            f"{repository}/manifest/{{digest}}/replication",
            replication_policy.ManifestReplication(database, required),
        ),
    ]


def _superuser_replication(
    database: Database, bundle: Bundle, slot: location.BatchSlot
) -> Resources:
    base = "/superuser/replication"
    backfill = BoundedBackfill(database, bundle.required_locations)
    retry = replication_work.ReplicationRetry(FailingTasks(database), LocationTable(database))
    return [
        (base, replication.Replication(database)),
        (f"{base}/lag", replication.ReplicationLag(database)),
        (f"{base}/backfill", replication_work.ReplicationBackfill(backfill, slot)),
        (f"{base}/retry", retry),
    ]


def _locations(
    database: Database,
    bundle: Bundle,
    life_cycle: Callable[[], LocationLifeCycle],
    slot: location.BatchSlot,
) -> Resources:
    base = "/superuser/locations/{location}"
    reports = location.LocationReports(database, bundle.required_locations)
    return [
        ("/superuser/locations", location.LocationList(reports)),
        (f"{base}/drain", location.LocationDrain(life_cycle, slot)),
        (f"{base}/activate", location.LocationActivation(life_cycle)),
        (f"{base}/loss", location.LocationLoss(life_cycle, slot)),
        (base, location.LocationResource(reports)),
    ]


def _tags(database: Database, history: TagHistory, tags: Tags, bundle: Bundle) -> Resources:
    completeness = ImageCompleteness(database, bundle.required_locations)
    return [
        (f"{_TAG}/restore", tag.RestoreTag(history)),
        (f"{_TAG}/expire", tag.ExpireTag(history)),
        (_TAG, tag.TagResource(history, tags, changeable=bundle.feature_change_tag_expiration)),
        (
            "/repository/{repository}/tag/",
            tag.TagList(
                history,
                completeness,
                counted=bundle.feature_image_pull_stats,
                scanned=bundle.feature_security_scanner,
            ),
        ),
    ]


def _manifests(
    database: Database, labels: Labels, manifests: Manifests, blobs: Blobs, tags: Tags
) -> Resources:
    details = ImageDetails(database, blobs)
    return [
        (f"{_TAG}/image", image.TagImage(details)),
        (f"{_MANIFEST}/image", image.ImageResource(details)),
        (f"{_MANIFEST}/referrers", image.ImageReferrers(ReferrerTree(database))),
        (f"{_MANIFEST}/labels/{{uuid}}", manifest.LabelResource(labels)),
        (f"{_MANIFEST}/labels", manifest.LabelList(labels, manifests, tags)),
        (_MANIFEST, manifest.ManifestResource(manifests)),
    ]


def _notifications(
    notifications: Notifications,
    receivers: Receivers,
    notices: Notices,
    addresses: AuthorizedAddresses | None,
    *,
    vulnerabilities: bool,
) -> Resources:
    base = "/repository/{repository}/notification/"
    resources: Resources = [
        (f"{base}{{uuid}}/test", notification.NotificationTest(notifications)),
        (f"{base}{{uuid}}", notification.NotificationResource(notifications)),
        (
            base,
            notification.NotificationList(
                notifications, receivers, notices, addresses, vulnerabilities=vulnerabilities
            ),
        ),
        ("/user/notifications", user_notification.NoticeList(notices)),
        ("/user/notifications/{uuid}", user_notification.NoticeResource(notices)),
    ]
    if addresses is not None:
        path = "/repository/{repository}/authorizedemail/{email}"
        resources.append((path, authorized_email.AuthorizedEmail(addresses)))
    return resources


def _permissions(permissions: Permissions) -> Resources:
    resources: Resources = [
        (
            "/repository/{repository}/permissions/user/{username}/transitive",
            permission.TransitivePermissions(permissions),
        )
    ]
    for kind in (USER, TEAM):
        base = f"/repository/{{repository}}/permissions/{kind}/"
        resources += [
            (f"{base}{{delegate}}", permission.PermissionResource(permissions, kind)),
            (base, permission.PermissionList(permissions, kind)),
        ]
    return resources
