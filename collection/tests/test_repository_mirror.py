"""The module of mirrors is idempotent, sends one request per change, and keeps passwords."""

import http.server
import json
import os
import subprocess
import threading

import pytest
from ansible_collections.atoll.registry.plugins.module_utils.registry_api import (
    ARGUMENTS,
    ApiError,
    RegistryApi,
    converge,
)
from ansible_collections.atoll.registry.plugins.modules import repository_mirror
from ansible_collections.atoll.registry.plugins.modules.repository_mirror import Mirror
from ansible_collections.atoll.registry.plugins.modules.repository_mirror_info import read
from tools import TOOLS

PATH = "/api/v1/repository/acme/app/mirror"
DEFAULTS = {
    "mirror_type": "PULL",
    "is_enabled": True,
    "external_registry_username": None,
    "external_registry_config": {},
    "skopeo_timeout_interval": 300,
    "architecture_filter": [],
    "sync_status": "NEVER_RUN",
    "atoll": {},
}
OPTIONS = ARGUMENTS | repository_mirror.ARGUMENTS


class Registry(http.server.BaseHTTPRequestHandler):
    """The API of one mirror, with the merging of nested objects that the registry has."""

    def respond(self, status, body=None):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self):
        length = int(self.headers["Content-Length"])
        found = json.loads(self.rfile.read(length))
        self.server.requests.append((self.command, found))
        return found

    def do_GET(self):
        mirror = self.server.mirror
        if self.path.startswith(f"{PATH}/runs"):
            self.respond(200, {"runs": [{"outcome": "FAIL"}]})
        elif self.path.startswith(f"{PATH}/tags"):
            last = "next_page=a" in self.path
            self.respond(
                200,
                {"tags": [{"tag": "b"}]} if last else {"tags": [{"tag": "a"}], "next_page": "a"},
            )
        elif mirror is None:
            self.respond(404, {"detail": "the repository 'acme/app' is no mirror"})
        else:
            shown = {key: mirror[key] for key in mirror if "password" not in key}
            text = json.dumps(shown).replace(":hunter2@", ":********@")
            self.respond(200, json.loads(text))

    def do_POST(self):
        self.server.mirror = {**DEFAULTS, **self.body()}
        self.respond(201, "")

    def do_PUT(self):
        given = self.body()
        for name in ("external_registry_config", "atoll"):
            if name in given:
                given[name] = {**self.server.mirror[name], **given[name]}
        self.server.mirror.update(given)
        self.respond(201, "")

    def do_DELETE(self):
        self.server.mirror = None
        self.respond(204)

    def log_message(self, *_arguments):
        """Log nothing."""


@pytest.fixture
def registry():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    server.mirror, server.requests = None, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def apply(registry):
    """Return a function that applies options, and returns the state before and after."""

    def run(state="present", *, check_mode=False, **options):
        registry.requests.clear()
        params = {name: details.get("default") for name, details in OPTIONS.items()}
        params |= {"registry_url": f"http://127.0.0.1:{registry.server_port}", "token": "token"}
        params |= {"name": "acme/app", **options}
        return converge(Mirror(RegistryApi(params), params), state, check_mode=check_mode)

    return run


NEW = {"external_reference": "quay.io/team/app", "robot": "mirror"}


def test_a_new_mirror_has_defaults(registry, apply):
    before, after = apply(**NEW)

    assert before is None
    ((method, body),) = registry.requests
    assert method == "POST"
    assert body.pop("sync_start_date").endswith("Z")
    assert body == {
        "external_reference": "quay.io/team/app",
        "robot_username": "acme+mirror",
        "root_rule": {"rule_kind": "tag_glob_csv", "rule_value": ["*"]},
        "sync_interval": 86_400,
    }
    assert after["referrers"] == ["all"]
    assert after["verify_tls"]


@pytest.mark.parametrize("missing", sorted(NEW))
def test_a_new_mirror_needs_an_upstream_and_a_robot(registry, apply, missing):
    with pytest.raises(ApiError, match=f"needs {missing}"):
        apply(**{**NEW, missing: None})

    assert registry.requests == []


@pytest.mark.parametrize(
    "options",
    [
        {"tags": ["1.*, 2.*"], "exclude": ["*-rc*"], "semver": [">=1"], "newest": 3},
        {"referrers": ["none"], "rollback": True, "delete_limit": 0.25, "delete_after": 0},
        {"referrers": ["application/spdx+json"], "immutable_tags": ["v*"]},
        {"architectures": ["amd64"], "enabled": False, "tag_timeout": 600, "sync_interval": 0},
        {"verify_tls": False, "https_proxy": "http://proxy.test:3128", "no_proxy": "a.test"},
        {"http_proxy": "http://john:hunter2@proxy.test:3128"},
        {"sync_start_date": "2026-01-31T22:00:00Z", "hours": "22:00-06:00", "max_age": 60},
        {"external_registry_username": "john", "external_registry_password": "secret"},
        {"robot": "acme+other", "newest_by": "created", "ca_certificate": "PEM"},
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


def test_options_that_are_not_specified_keep_their_values(registry, apply):
    apply(**NEW, tags=["1.*"], https_proxy="http://proxy.test:3128")
    apply(no_proxy="a.test")

    assert registry.requests == [
        (
            "PUT",
            {
                "external_registry_config": {
                    "proxy": {
                        "http_proxy": None,
                        "https_proxy": "http://proxy.test:3128",
                        "no_proxy": "a.test",
                    }
                }
            },
        )
    ]
    assert registry.mirror["root_rule"]["rule_value"] == ["1.*"]


def test_a_password_is_sent_with_a_new_user_name_only(registry, apply):
    login = {"external_registry_username": "john", "external_registry_password": "secret"}
    apply(**NEW, **login)
    assert registry.mirror["external_registry_password"] == "secret"
    _before, after = apply(external_registry_username="john", external_registry_password="other")
    assert registry.requests == []
    assert "secret" not in json.dumps(after)

    apply(external_registry_username="jane", external_registry_password="other")

    assert registry.mirror["external_registry_password"] == "other"


@pytest.mark.parametrize(
    "change",
    [{"external_reference": "other.test/app"}, {"https_proxy": "http://proxy.test:3128"}],
)
def test_a_password_is_sent_again_with_a_new_route(registry, apply, change):
    login = {"external_registry_username": "john", "external_registry_password": "secret"}
    apply(**NEW, **login)

    apply(**login, **change)

    ((_method, body),) = registry.requests
    assert login.items() <= body.items()


def test_check_mode_changes_nothing(registry, apply):
    _before, after = apply(**NEW, tags=["1.*"], check_mode=True)

    assert after["tags"] == ["1.*"]
    assert registry.mirror is None


def test_an_absent_mirror_is_removed_once(registry, apply):
    apply(**NEW)
    before, after = apply("absent")
    assert (before["robot"], after, registry.mirror) == ("acme+mirror", None, None)

    assert apply("absent") == (None, None)


def test_information_has_runs_and_all_failed_tags(registry, apply):
    params = {
        "registry_url": f"http://127.0.0.1:{registry.server_port}",
        "token": "token",
        "ca_path": None,
        "validate_certs": True,
        "timeout": 30,
        "name": "acme/app",
        "runs": 1,
    }
    assert read(RegistryApi(params), params) == []
    apply(**NEW)

    (found,) = read(RegistryApi(params), params)

    assert found["sync_status"] == "NEVER_RUN"
    assert found["runs"] == [{"outcome": "FAIL"}]
    assert [one["tag"] for one in found["failed_tags"]] == ["a", "b"]


@pytest.fixture
def play(root, registry, tmp_path):
    """Return a function that runs the module in a play, and returns its result."""

    def run(**options):
        task = {
            "atoll.registry.repository_mirror": {
                "registry_url": f"http://127.0.0.1:{registry.server_port}",
                "token": "token",
                "name": "acme/app",
                **options,
            },
            "register": "found",
        }
        result = tmp_path / "result.json"
        save = {"ansible.builtin.copy": {"content": "{{ found | to_json }}", "dest": str(result)}}
        plays = [{"hosts": "localhost", "gather_facts": False, "tasks": [task, save]}]
        (tmp_path / "play.yml").write_text(json.dumps(plays))
        done = subprocess.run(
            [
                TOOLS / "ansible-playbook",
                "-v",
                "-i",
                "localhost,",
                "-c",
                "local",
                tmp_path / "play.yml",
            ],
            check=False,
            cwd=root,
            env={**os.environ, "HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert "hunter2" not in done.stdout
        return json.loads(result.read_text()) if done.returncode == 0 else done.stdout

    return run


def test_the_module_sends_the_password_always_if_told_to(registry, play):
    login = {"external_registry_username": "john", "external_registry_password": "hunter2"}
    assert play(**NEW, **login)["changed"]
    assert not play(**login)["changed"]
    registry.mirror["external_registry_password"] = "former"

    found = play(**login, update_password="always")

    assert found["changed"]
    assert registry.mirror["external_registry_password"] == "hunter2"
    assert "requires external_registry_username" in play(external_registry_password="hunter2")


def test_the_module_sends_the_password_of_a_proxy_if_told_to_and_shows_none(registry, play):
    proxy = {"https_proxy": "http://john:hunter2@proxy.test:3128"}
    assert play(**NEW, **proxy)["changed"]
    assert not play(**proxy)["changed"]
    stored = registry.mirror["external_registry_config"]
    assert stored["proxy"]["https_proxy"] == proxy["https_proxy"]
    stored["proxy"]["https_proxy"] = "http://john:former@proxy.test:3128"

    assert play(**proxy, update_password="always")["changed"]

    assert registry.mirror["external_registry_config"]["proxy"] == {
        "http_proxy": None,
        "https_proxy": proxy["https_proxy"],
        "no_proxy": None,
    }
