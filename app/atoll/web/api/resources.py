"""Which path is which resource; the first that fits is taken."""

from __future__ import annotations

from atoll.auth.access import Access
from atoll.auth.api_tokens import ApiTokens, AppTokens
from atoll.auth.applications import Applications
from atoll.auth.audit import Audit
from atoll.auth.entities import Entities
from atoll.auth.organizations import Organizations
from atoll.auth.permissions import TEAM, USER, Permissions, Prototypes
from atoll.auth.robot_rule import RobotRule
from atoll.auth.robots import Robots
from atoll.auth.secrets import Cipher
from atoll.auth.sessions import Sessions
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.db.shared_redis import SharedRedis
from atoll.notifications.receivers import Receivers
from atoll.notifications.subscriptions import Notifications
from atoll.registry.history import History
from atoll.registry.labels import Labels
from atoll.registry.listing import Listing
from atoll.registry.manifests import Manifests
from atoll.registry.messages import Messages
from atoll.registry.removal import Removal
from atoll.registry.repositories import Repositories
from atoll.registry.stars import Stars
from atoll.registry.tags import Tags
from atoll.web.api import (
    application,
    log,
    manifest,
    message,
    notification,
    oauth,
    permission,
    prototype,
    robot,
    session,
    star,
    superuser,
    tag,
    team,
)
from atoll.web.api.app_token import AppTokenList, OneAppToken
from atoll.web.api.authorization import AuthorizationList, OneAuthorization
from atoll.web.api.cookies import Cookies
from atoll.web.api.entity import EntitySearch
from atoll.web.api.find import FindRepositories
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.openapi import Document
from atoll.web.api.organization import OneOrganization, OrganizationList, OrganizationMembers
from atoll.web.api.repository import OneRepository, RepositoryList, State, Visibility
from atoll.web.api.router import PREFIX, Api
from atoll.web.api.user import Initialize, Myself
from atoll.web.authority import Authority

Resources = list[tuple[str, object]]


def create_api(
    *,
    bundle: Bundle,
    database: Database,
    redis: SharedRedis,
    cipher: Cipher,
    access: Access,
    repositories: Repositories,
    manifests: Manifests,
    tags: Tags,
    receivers: Receivers,
    authority: Authority,
) -> Api:
    """Return what serves all below `/api/v1`."""
    audit = Audit(database)
    organizations = Organizations(database)
    namespaces = Namespaces(organizations, bundle)
    removal = Removal(database, redis)
    listing = Listing(database, bundle.default_tag_expiration)
    history = History(database, redis, bundle.default_tag_expiration)
    api_tokens = ApiTokens(database)
    stars, messages = Stars(database), Messages(database)
    applications = Applications(database, cipher)
    sessions = Sessions.from_bundle(bundle)
    cookies = Cookies(sessions, bundle)
    resources: Resources = [
        ("/signin", session.SignIn(database, access, sessions, cookies, bundle)),
        ("/signout", session.SignOut()),
        ("/user/authorizations", AuthorizationList(api_tokens)),
        ("/user/authorizations/{uuid}", OneAuthorization(api_tokens)),
        *_applications(applications, namespaces),
        ("/user/initialize", Initialize(database, bundle, cipher, api_tokens)),
        *_logs(audit, namespaces),
        ("/user/", Myself(database, organizations, bundle)),
        ("/find/repositories", FindRepositories(listing, namespaces)),
        ("/superuser/users/", superuser.SuperuserUserList(database, cipher, bundle)),
        ("/superuser/users/{username}", superuser.SuperuserUser(database, removal, bundle)),
        ("/superuser/organizations/", superuser.SuperuserOrganizationList(organizations)),
        (
            "/superuser/organizations/{orgname}",
            superuser.SuperuserOrganization(database, organizations, removal),
        ),
        ("/organization/", OrganizationList(database, bundle)),
        ("/organization/{orgname}/members", OrganizationMembers(organizations, namespaces)),
        *_teams(organizations, namespaces),
        *_prototypes(Prototypes(database), namespaces),
        *_robots(Robots(database, cipher, RobotRule.from_bundle(bundle)), namespaces),
        (
            "/organization/{orgname}",
            OneOrganization(database, organizations, namespaces, removal, bundle),
        ),
        *_tags(history, tags, bundle),
        *_manifests(Labels(database), manifests, tags),
        *_permissions(Permissions(database)),
        *_notifications(Notifications(database, cipher), receivers),
        ("/repository/{repository}/changevisibility", Visibility(listing)),
        ("/repository/{repository}/changestate", State(listing)),
        ("/user/starred", star.StarList(stars, listing, access)),
        ("/user/starred/{repository}", star.OneStar(stars)),
        ("/entities/{prefix}", EntitySearch(Entities(database))),
        ("/messages", message.MessageList(messages)),
        ("/message/{uuid}", message.OneMessage(messages)),
        ("/repository", RepositoryList(repositories, listing, namespaces)),
        ("/repository/{repository}", OneRepository(listing, history, removal)),
    ]
    if bundle.feature_app_specific_tokens:
        app_tokens = AppTokens(database, cipher, bundle)
        resources.append(("/user/apptoken", AppTokenList(app_tokens)))
        resources.append(("/user/apptoken/{uuid}", OneAppToken(app_tokens)))
    described = Document(resources)
    resources = [*resources, ("/discovery", described), ("/openapi.json", described)]
    authorizing = (applications, api_tokens, authority, bundle)
    # What Quay serves beside `/api/v1`, and scripts use.
    pages: Resources = [
        ("/csrf_token", session.CsrfToken(sessions, cookies)),
        ("/oauth/authorize", oauth.Authorize(*authorizing)),
        ("/oauth/authorizeapp", oauth.AuthorizeApplication(*authorizing)),
        (oauth.LOCAL, oauth.LocalApplication()),
    ]
    return Api(
        {PREFIX: resources, "": pages},
        access,
        audit,
        authority,
        cookies,
        read_only=bundle.read_only,
        anonymous=bundle.feature_anonymous_access,
    )


def _applications(applications: Applications, namespaces: Namespaces) -> Resources:
    base = "/organization/{orgname}/applications"
    one = f"{base}/{{client_id}}"
    return [
        (f"{one}/resetclientsecret", application.ApplicationSecret(applications, namespaces)),
        (one, application.OneApplication(applications, namespaces)),
        (base, application.ApplicationList(applications, namespaces)),
        ("/app/{client_id}", application.ApplicationInformation(applications)),
    ]


def _logs(audit: Audit, namespaces: Namespaces) -> Resources:
    return [
        ("/user/logs", log.UserLogs(audit)),
        ("/user/aggregatelogs", log.UserCounts(audit)),
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
        (base, team.OneTeam(organizations, namespaces)),
    ]


def _prototypes(prototypes: Prototypes, namespaces: Namespaces) -> Resources:
    base = "/organization/{orgname}/prototypes"
    return [
        (f"{base}/{{uuid}}", prototype.OnePrototype(prototypes, namespaces)),
        (base, prototype.PrototypeList(prototypes, namespaces)),
    ]


def _robots(robots: Robots, namespaces: Namespaces) -> Resources:
    resources: Resources = []
    for base in ("/organization/{orgname}/robots", "/user/robots"):
        one = f"{base}/{{robot_shortname}}"
        resources += [
            (f"{one}/regenerate", robot.RegenerateRobot(robots, namespaces)),
            (f"{one}/permissions", robot.RobotPermissions(robots, namespaces)),
            (one, robot.OneRobot(robots, namespaces)),
            (base, robot.RobotList(robots, namespaces)),
        ]
    return resources


def _tags(history: History, tags: Tags, bundle: Bundle) -> Resources:
    base = "/repository/{repository}/tag"
    return [
        (f"{base}/{{tag}}/restore", tag.RestoreTag(history)),
        (f"{base}/{{tag}}/expire", tag.ExpireTag(history)),
        (
            f"{base}/{{tag}}",
            tag.OneTag(history, tags, changeable=bundle.feature_change_tag_expiration),
        ),
        (f"{base}/", tag.TagList(history)),
    ]


def _manifests(labels: Labels, manifests: Manifests, tags: Tags) -> Resources:
    base = "/repository/{repository}/manifest/{digest}"
    return [
        (f"{base}/labels/{{uuid}}", manifest.OneLabel(labels)),
        (f"{base}/labels", manifest.LabelList(labels, manifests, tags)),
        (base, manifest.OneManifest(manifests)),
    ]


def _notifications(notifications: Notifications, receivers: Receivers) -> Resources:
    base = "/repository/{repository}/notification/"
    return [
        (f"{base}{{uuid}}/test", notification.NotificationTest(notifications)),
        (f"{base}{{uuid}}", notification.OneNotification(notifications)),
        (base, notification.NotificationList(notifications, receivers)),
    ]


def _permissions(permissions: Permissions) -> Resources:
    resources: Resources = []
    for kind in (USER, TEAM):
        base = f"/repository/{{repository}}/permissions/{kind}/"
        resources += [
            (f"{base}{{delegate}}", permission.OnePermission(permissions, kind)),
            (base, permission.PermissionList(permissions, kind)),
        ]
    return resources
