"""The module of mirrored organizations is idempotent, and sends one request per change."""

import http.server
import json
import threading

import pytest
from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    ARGUMENTS,
    ApiError,
    RegistryApi,
    converge,
)
from ansible_collections.atoll.registry.plugins.modules import organization_mirror
from ansible_collections.atoll.registry.plugins.modules.organization_mirror import (
    OrganizationMirror,
)
from ansible_collections.atoll.registry.plugins.modules.organization_mirror_info import read

PATH = "/api/v1/organization/acme/mirror"
RULE = {"rule_kind": "tag_glob_csv", "rule_value": ["*"]}
# What the registry returns for a new mirror, besides what was sent.
DEFAULTS = {
    "is_enabled": True,
    "external_registry_username": None,
    "external_registry_config": {},
    "repository_filters": [],
    "skopeo_timeout": 300,
    "sync_status": "NEVER_RUN",
}
OPTIONS = ARGUMENTS | organization_mirror.ARGUMENTS
NEW = {
    "external_registry_type": "harbor",
    "external_registry_url": "https://harbor.example.com",
    "external_namespace": "platform",
    "robot": "mirror",
}


class Registry(http.server.BaseHTTPRequestHandler):
    """The API of one mirror, with the merging of nested objects that the registry has."""

    def respond(self, status, body=None):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self):
        found = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.command, found))
        return found

    def do_GET(self):
        mirror = self.server.mirror
        if mirror is None:
            self.respond(404, {"detail": "the organization 'acme' is no mirror"})
        elif self.path.startswith(f"{PATH}/repositories"):
            self.server.queries.append(self.path.partition("?")[2])
            last = "page=2" in self.path
            name = "b" if last else "a"
            self.respond(200, {"repositories": [{"name": name}], "has_next": not last})
        else:
            shown = {key: mirror[key] for key in mirror if "password" not in key}
            text = json.dumps(shown).replace(":hunter2@", ":********@")
            self.respond(200, json.loads(text))

    def do_POST(self):
        given = self.body()
        options = {"tags": RULE, "architecture_filter": [], **given.pop("atoll", {})}
        self.server.mirror = {**DEFAULTS, **given, "atoll": options}
        self.respond(201, "")

    def do_PUT(self):
        given = self.body()
        for name in ("external_registry_config", "atoll"):
            if name in given:
                given[name] = {**self.server.mirror[name], **given[name]}
        self.server.mirror.update(given)
        self.respond(200, "")

    def do_DELETE(self):
        self.server.mirror = None
        self.respond(204)

    def log_message(self, *_arguments):
        """Log nothing."""


@pytest.fixture
def registry():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    server.mirror, server.requests, server.queries = None, [], []
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    ).start()
    yield server
    server.shutdown()
    server.server_close()


def params(registry, **options):
    found = {name: details.get("default") for name, details in OPTIONS.items()}
    found |= {"registry_url": f"http://127.0.0.1:{registry.server_port}", "token": "token"}
    return found | {"name": "acme", **options}


@pytest.fixture
def apply(registry):
    """Return a function that applies options, and returns the state before and after."""

    def run(state="present", *, check_mode=False, **options):
        registry.requests.clear()
        given = params(registry, **options)
        mirror = OrganizationMirror(RegistryApi(given), given)
        return converge(mirror, state, check_mode=check_mode)

    return run


def test_a_new_mirror_has_defaults(registry, apply):
    for missing in NEW:
        with pytest.raises(ApiError, match=f"needs {missing}"):
            apply(**{**NEW, missing: None})
    _before, after = apply(**NEW, check_mode=True)
    assert (after["robot"], registry.mirror) == ("acme+mirror", None)

    before, after = apply(**NEW)

    assert before is None
    ((method, body),) = registry.requests
    assert (method, body.pop("sync_start_date")[-1]) == ("POST", "Z")
    assert body == {
        **{name: value for name, value in NEW.items() if name != "robot"},
        "robot_username": "acme+mirror",
        "visibility": "private",
        "sync_interval": 86_400,
    }
    assert (after["tags"], after["repositories"], after["verify_tls"]) == (["*"], [], True)


@pytest.mark.parametrize(
    "options",
    [
        {"repositories": ["base/*, tools-*"], "visibility": "public", "enabled": False},
        {"tags": ["1.*, 2.*"], "exclude": ["*-rc*"], "semver": [">=1"], "newest": 3},
        {"architectures": ["amd64"], "tag_timeout": 600, "sync_interval": 60, "max_age": 60},
        {"verify_tls": False, "ca_certificate": "PEM", "newest_by": "created"},
        {"external_registry_url": "https://other.example.com", "external_namespace": "other"},
        {"robot": "acme+other", "sync_start_date": "2026-01-31T22:00:00Z"},
        {"referrers": ["none"], "rollback": True, "delete_limit": 0.25, "delete_after": 0},
        {"referrers": ["application/spdx+json"], "immutable_tags": ["v*, 1.*"]},
        {"http_proxy": "http://john:hunter2@proxy.test:3128", "hours": "22:00-06:00"},
        {"https_proxy": "http://proxy.test:3128", "no_proxy": "a.test"},
    ],
)
def test_the_same_options_change_nothing(registry, apply, options):
    apply(**NEW)
    before, after = apply(**{**NEW, **options})
    assert before != after
    assert [method for method, _body in registry.requests] == ["PUT"]

    before, after = apply(**{**NEW, **options})

    assert before == after
    assert registry.requests == []


def test_a_password_is_sent_with_a_new_user_name_or_on_request(registry, apply):
    login = {"external_registry_username": "john", "external_registry_password": "secret"}
    apply(**NEW, **login)
    assert registry.mirror["external_registry_password"] == "secret"
    _before, after = apply(external_registry_username="john", external_registry_password="other")
    assert registry.requests == []
    assert "secret" not in json.dumps(after)

    given = params(registry, external_registry_username="john", external_registry_password="new")
    OrganizationMirror(RegistryApi(given), given).send_passwords()

    assert registry.mirror["external_registry_password"] == "new"


@pytest.mark.parametrize(
    "change",
    [
        {"external_registry_url": "https://other.example.com"},
        {"https_proxy": "http://proxy.test:3128"},
    ],
)
def test_a_password_is_sent_again_with_a_new_route(registry, apply, change):
    login = {"external_registry_username": "john", "external_registry_password": "secret"}
    apply(**NEW, **login)

    apply(**login, **change)

    ((_method, body),) = registry.requests
    assert login.items() <= body.items()


def test_an_absent_mirror_is_removed_once(registry, apply):
    apply(**NEW)
    before, after = apply("absent")
    assert (before["robot"], after, registry.mirror) == ("acme+mirror", None, None)
    assert apply("absent") == (None, None)


def test_information_has_the_repositories_of_all_pages(registry, apply):
    given = {**params(registry), "status": None}
    assert read(RegistryApi(given), given) == []
    apply(**NEW, delete_after=60, https_proxy="http://john:hunter2@proxy.test:3128")

    (found,) = read(RegistryApi(given), {**given, "status": "FAIL"})

    assert found["sync_status"] == "NEVER_RUN"
    assert found["atoll"]["delete_after"] == 60
    proxy = found["external_registry_config"]["proxy"]
    assert proxy["https_proxy"] == "http://john:********@proxy.test:3128"
    assert [one["name"] for one in found["repositories"]] == ["a", "b"]
    assert registry.queries == ["limit=500&status=FAIL&page=1", "limit=500&status=FAIL&page=2"]
