"""The permission matrix: every actor and action, on a public and on a private repository."""

from __future__ import annotations

import base64
import itertools

import jwt
import requests
from atoll.auth.api_tokens import ApiTokens

from .clients import Api, add_user
from .site import PASSWORD, SUPERUSER, Site

ACTIONS = ("pull", "push", "show", "change", "administer")
# What each actor may do with acme/private and, in addition, with acme/public.
PERMISSIONS = {
    "anonymous": (set(), {"pull", "show"}),
    "stranger": (set(), {"pull", "show"}),
    "reader": ({"pull", "show"}, set()),
    "writer": ({"pull", "show", "push", "change"}, set()),
    "administrator": (set(ACTIONS), set()),
    "acme+writer": ({"pull", "show", "push", "change"}, set()),
    "acme+other": (set(), {"pull", "show"}),
    # Without FEATURE_SUPERUSERS_FULL_ACCESS a superuser administers accounts, not repositories.
    SUPERUSER: (set(), {"pull", "show"}),
    "member": ({"pull", "show"}, set()),
    "reading token": ({"pull", "show"}, set()),
}
# Credentials that do not even give access to public repositories.
REFUSED = ("disabled", "expired token", "wrong robot")


class Actor:
    """A client, with each kind of credentials that it may have."""

    def __init__(self, site: Site, username: str | None, password: str = ""):
        self.site = site
        self.auth = (username, password) if username else None

    def get_token(self, scope: str) -> requests.Response:
        return self._request("GET", "/v2/auth", params={"scope": scope})

    def is_allowed(self, action: str, name: str) -> bool:
        if action in {"pull", "push"}:
            answer = self.get_token(f"repository:{name}:{action}")
            assert answer.status_code == 200, answer.text
            claims = jwt.decode(answer.json()["token"], options={"verify_signature": False})
            return any(action in entry["actions"] for entry in claims["access"])
        method, path, body = {
            "show": ("GET", name, None),
            "change": ("PUT", name, {"description": "changed"}),
            "administer": ("GET", f"{name}/permissions/user/", None),
        }[action]
        answer = self._request(method, f"/api/v1/repository/{path}", json=body)
        assert answer.status_code in {200, 401, 403}, answer.text
        assert answer.status_code != 401 or self.auth is None
        return answer.status_code == 200

    def _request(self, method: str, path: str, **arguments: object) -> requests.Response:
        headers = {}
        if self.auth:
            pair = base64.b64encode(":".join(self.auth).encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.site.url + path, headers=headers, **arguments)  # type: ignore[arg-type]


def make_actors(site: Site) -> dict[str, Actor]:
    """Create an organization with two repositories, and all actors."""
    superuser = Api(site)
    owner = add_user(superuser, "owner")
    owner.call("POST", "organization/", {"name": "acme"}, 201)
    for visibility in ("public", "private"):
        body = {"namespace": "acme", "repository": visibility, "visibility": visibility}
        owner.call("POST", "repository", body, 201)
    actors = {"anonymous": Actor(site, None), SUPERUSER: Actor(site, SUPERUSER, PASSWORD)}
    for name in ("stranger", "reader", "writer", "administrator", "member", "disabled"):
        add_user(superuser, name)
        actors[name] = Actor(site, name, "another password")
    for short in ("writer", "other"):
        robot = owner.call("PUT", f"organization/acme/robots/{short}", {}, 201)
        actors[robot["name"]] = Actor(site, robot["name"], robot["token"])
    actors["wrong robot"] = Actor(site, "acme+writer", actors["acme+other"].auth[1])  # type: ignore[index]
    owner.call("PUT", "organization/acme/team/readers", {"role": "member"})
    owner.call("PUT", "organization/acme/team/readers/members/member")
    roles = {"reader": "read", "writer": "write", "administrator": "admin", "acme+writer": "write"}
    for visibility in ("public", "private"):
        base = f"repository/acme/{visibility}/permissions"
        for name, role in {**roles, "disabled": "admin"}.items():
            owner.call("PUT", f"{base}/user/{name}", {"role": role})
        owner.call("PUT", f"{base}/team/readers", {"role": "read"})
    superuser.call("PUT", "superuser/users/disabled", {"enabled": False})
    return actors | _tokens(site)


def _tokens(site: Site) -> dict[str, Actor]:
    """Return actors with API tokens of an administrator: one of narrow scope and an old one."""
    tokens = ApiTokens(site.services.database)
    reading = tokens.create("owner", ["repo:read"], 3600)
    expired = tokens.create("owner", ["repo:read", "repo:admin"], -1)
    return {
        "reading token": Actor(site, "$oauthtoken", reading),
        "expired token": Actor(site, "$oauthtoken", expired),
    }


def test_every_actor_has_exactly_the_permissions_of_its_role(us: Site) -> None:
    actors = make_actors(us)
    expected, found = {}, {}
    for actor, action, visibility in itertools.product(PERMISSIONS, ACTIONS, ("private", "public")):
        private, public = PERMISSIONS[actor]
        case = (actor, action, visibility)
        expected[case] = action in private or (visibility == "public" and action in public)
        found[case] = actors[actor].is_allowed(action, f"acme/{visibility}")
    assert found == expected


def test_rejected_credentials_do_not_give_access_to_public_repositories(us: Site) -> None:
    actors = make_actors(us)
    for refused in REFUSED:
        assert actors[refused].get_token("repository:acme/public:pull").status_code == 401
        answer = actors[refused]._request("GET", "/api/v1/repository/acme/public")
        assert (refused, answer.status_code) == (refused, 401)


def test_a_disabled_organization_and_its_robots_have_no_access(us: Site) -> None:
    actors = make_actors(us)
    us.services.database.run('UPDATE "user" SET enabled = false WHERE username = %s', ["acme"])
    scope = "repository:acme/public:pull"
    assert actors["acme+writer"].get_token(scope).status_code == 401
    assert not actors["writer"].is_allowed("pull", "acme/public")
    assert not actors["anonymous"].is_allowed("pull", "acme/public")
