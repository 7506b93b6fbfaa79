"""URI templates and resources of the panel; the first template that matches has precedence."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.audit.log import Audit
from atoll.auth.access import Access
from atoll.auth.sessions import Sessions
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.storage.health import StoreHealth
from atoll.web.api.cookies import Cookies
from atoll.web.api.resources import Api, Resources
from atoll.web.api.session import PasswordLogin
from atoll.web.external_url import ExternalUrls
from atoll.web.panel.account import UserPage
from atoll.web.panel.account_settings import AccountSettings
from atoll.web.panel.account_tokens import (
    API_TOKENS,
    APP_TOKENS,
    NewAppToken,
    TokenRevocation,
)
from atoll.web.panel.api_calls import ApiCalls
from atoll.web.panel.applications import (
    ApplicationDeletion,
    ApplicationPage,
    ApplicationSecret,
    NewApplication,
)
from atoll.web.panel.default_permissions import DefaultPermissionForm, NewDefaultPermission
from atoll.web.panel.errors import ErrorPages
from atoll.web.panel.fresh_login import FreshLogin
from atoll.web.panel.home import Home
from atoll.web.panel.licences import Licences
from atoll.web.panel.location import ActivationForm, DrainForm, LocationPage
from atoll.web.panel.login_lines import LoginLines
from atoll.web.panel.middleware import PanelMiddleware
from atoll.web.panel.mirrors import MirrorsPage
from atoll.web.panel.operator_pages import operator_pages
from atoll.web.panel.organization_settings import OrganizationDeletion, OrganizationSettings
from atoll.web.panel.organizations import OrganizationPage, OrganizationsPage
from atoll.web.panel.rendering import Renderer
from atoll.web.panel.replication import ReplicationPage, RetryForm
from atoll.web.panel.repositories import RepositoriesPage
from atoll.web.panel.repository_pages import repository_pages
from atoll.web.panel.robots import NewRobot, RobotDeletion, RobotToken
from atoll.web.panel.search import SearchPage
from atoll.web.panel.signin import SignIn, SignOut
from atoll.web.panel.stars import StarForm
from atoll.web.panel.static_files import PREFIX as STATIC_PREFIX
from atoll.web.panel.static_files import StaticFileResource, StaticFiles
from atoll.web.panel.superuser import SuperuserPage
from atoll.web.panel.teams import NewTeam, TeamChange, TeamDeletion, TeamPage


@dataclass(frozen=True)
class Panel:
    """The routes of the panel, as (URI template, resource), and what they need."""

    routes: Resources
    middleware: PanelMiddleware
    errors: ErrorPages


def create_panel(
    *,
    bundle: Bundle,
    database: Database,
    access: Access,
    health: StoreHealth,
    external_urls: ExternalUrls,
    api: Api,
) -> Panel:
    """Return the resources of the panel."""
    sessions = Sessions.from_bundle(bundle)
    cookies = Cookies(sessions, bundle)
    login = PasswordLogin(access, sessions, bundle)
    fresh_login = FreshLogin.from_bundle(bundle, login)
    static_files = StaticFiles.installed()
    calls = ApiCalls(
        api.routes, read_only=bundle.read_only, anonymous=bundle.feature_anonymous_access
    )
    renderer = Renderer(static_files, registry=bundle.server_hostname)
    middleware = PanelMiddleware(
        access=access,
        audit=Audit(database),
        external_urls=external_urls,
        cookies=cookies,
        sessions=sessions,
        calls=calls,
        renderer=renderer,
        fresh_login=fresh_login,
    )
    logins = LoginLines(bundle.server_hostname)
    account_settings = AccountSettings(bundle.tag_expiration_options)
    organization_settings = OrganizationSettings(bundle.tag_expiration_options)
    routes: Resources = [
        ("/", Home()),
        ("/signin", SignIn(login, cookies, fresh_login)),
        ("/signout", SignOut()),
        ("/search", SearchPage()),
        ("/repository", RepositoriesPage()),
        *repository_pages(),
        (
            "/organization",
            OrganizationsPage(superusers_only=bundle.feature_superusers_org_creation_only),
        ),
        *_robots(logins),
        *_tokens(logins),
        ("/organization/{orgname}/new-team", NewTeam()),
        ("/organization/{orgname}/teams/{teamname}/change", TeamChange()),
        ("/organization/{orgname}/teams/{teamname}/delete", TeamDeletion()),
        ("/organization/{orgname}/teams/{teamname}", TeamPage()),
        *_applications(),
        ("/organization/{orgname}/new-permission", NewDefaultPermission()),
        ("/organization/{orgname}/permissions/{uuid}", DefaultPermissionForm()),
        ("/organization/{orgname}/settings", organization_settings),
        ("/organization/{orgname}/delete", OrganizationDeletion()),
        ("/organization/{orgname}", OrganizationPage(organization_settings)),
        ("/user/{username}/settings", account_settings),
        ("/user/{username}", UserPage(account_settings)),
        ("/superuser", SuperuserPage()),
        ("/superuser/replication", ReplicationPage()),
        ("/superuser/replication/retry", RetryForm()),
        ("/superuser/mirrors", MirrorsPage()),
        ("/superuser/locations/{location}/drain", DrainForm()),
        ("/superuser/locations/{location}/activate", ActivationForm()),
        ("/superuser/locations/{location}", LocationPage()),
        *operator_pages(),
        ("/panel/licences", Licences()),
        ("/panel/star/{repository}", StarForm()),
        (f"{STATIC_PREFIX}{{file}}", StaticFileResource(static_files)),
    ]
    return Panel(routes, middleware, ErrorPages(renderer, health, list(bundle.stores)))


def _robots(logins: LoginLines) -> Resources:
    resources: Resources = []
    for base in ("/organization/{orgname}/robots", "/user/{username}/robots"):
        resources += [
            (f"{base}/new", NewRobot(logins)),
            (f"{base}/{{robot_shortname}}/regenerate", RobotToken(logins)),
            (f"{base}/{{robot_shortname}}/delete", RobotDeletion()),
        ]
    return resources


def _tokens(logins: LoginLines) -> Resources:
    base = "/user/{username}"
    return [
        (f"{base}/tokens/new", NewAppToken(logins)),
        (f"{base}/tokens/{{uuid}}/revoke", TokenRevocation(APP_TOKENS)),
        (f"{base}/authorizations/{{uuid}}/revoke", TokenRevocation(API_TOKENS)),
    ]


def _applications() -> Resources:
    base = "/organization/{orgname}"
    one = f"{base}/applications/{{client_id}}"
    return [
        (f"{base}/new-application", NewApplication()),
        (f"{one}/reset", ApplicationSecret()),
        (f"{one}/delete", ApplicationDeletion()),
        (one, ApplicationPage()),
    ]
