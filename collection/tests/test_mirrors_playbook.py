"""mirrors.yml applies the mirrors of the inventory through the API, and prints no password."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from ansible_collections.atoll.registry.plugins.modules import (
    organization_mirror,
    repository_mirror,
)
from tools import TOOLS

PASSWORD = "hunter2-of-the-upstream"
LOGIN = "an-initial-password"
MIRRORS = [
    {
        "name": "acme/app",
        "external_reference": "quay.io/team/app",
        "robot": "mirror",
        "external_registry_username": "john",
        "external_registry_password": "{{ vault_upstream_password }}",
        "tags": ["1.*"],
        "newest": 3,
    },
    {"name": "admin/base", "external_reference": "quay.io/team/base", "robot": "admin+copies"},
    {"name": "acme/former", "state": "absent"},
]
ORGANIZATIONS = [
    {
        "name": "platform",
        "external_registry_type": "harbor",
        "external_registry_url": "https://harbor.test",
        "external_namespace": "base",
        "robot": "mirror",
        "external_registry_username": "john",
        "external_registry_password": "{{ vault_upstream_password }}",
        "repositories": ["tools-*"],
        "delete_after": 60,
        "https_proxy": "http://proxy.test:3128",
    },
    {"name": "former", "state": "absent"},
]
MIRROR = {
    "is_enabled": True,
    "external_registry_config": {},
    "skopeo_timeout_interval": 300,
    "architecture_filter": [],
    "atoll": {},
}
ORGANIZATION_MIRROR = {
    "is_enabled": True,
    "external_registry_config": {},
    "repository_filters": [],
    "skopeo_timeout": 300,
}
ORGANIZATION_OPTIONS = {"tags": {"rule_value": ["*"]}, "architecture_filter": []}
PATH = re.compile(
    r"/api/v1/(?:(?P<mirror>repository/.+/mirror)|(?P<organization_mirror>organization/\w+/mirror)"
    r"|(?P<robot>(?:user|organization/\w+)/robots.*)"
    r"|(?P<repository>repository.*)|(?P<organization>organization.*))"
)


class Registry(http.server.BaseHTTPRequestHandler):
    """Organizations, robots, repositories and mirrors, as objects by path."""

    def respond(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if path.endswith("/robots"):
            found = [one for key, one in self.server.objects.items() if key.startswith(f"{path}/")]
            self.respond(200, {"robots": found})
        elif path not in self.server.objects:
            self.respond(404, {"detail": f"there is no {path}"})
        else:
            found = self.server.objects[path]
            self.respond(200, {key: found[key] for key in found if "password" not in key})

    def do_POST(self):
        self.change()

    def do_PUT(self):
        self.change()

    def change(self):
        path = unquote(urlsplit(self.path).path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.changes.append((self.command, path))
        kind = PATH.fullmatch(path).lastgroup
        if kind == "organization":
            path, body = f"{path}/{body['name']}", {**body, "tag_expiration_s": 1}
        elif kind == "robot":
            owner = path.split("/")[4] if "/organization/" in path else "admin"
            body = {"name": f"{owner}+{path.rpartition('/')[2]}", "token": "s3cret-token", **body}
        elif kind == "repository":
            path += f"/{body['namespace']}/{body['repository']}"
            body = {"namespace": body["namespace"], "name": body["repository"], "state": "NORMAL"}
            body |= {"is_public": False, "description": ""}
        else:
            new = MIRROR
            if kind == "organization_mirror":
                new, body["atoll"] = ORGANIZATION_MIRROR, {**ORGANIZATION_OPTIONS, **body["atoll"]}
            body = {**new, **self.server.objects.get(path, {}), **body}
            body.setdefault("external_registry_username", None)
        self.server.objects[path] = body
        self.respond(201, {})

    def log_message(self, *_arguments):
        """Log nothing."""


@pytest.fixture
def registry():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    server.objects, server.changes = {}, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def apply(root, registry, tmp_path):
    """Return a function that runs the playbook, and returns its output."""
    unused = tmp_path / "unused.crt"
    unused.touch()
    variables = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "registry_hostname": "registry.internal",
        "registry_site": "us",
        "registry_storage_preference": ["usstorage"],
        "registry_tls_certificate_file": str(unused),
        "registry_tls_key_file": str(unused),
        "registry_config": {
            "FEATURE_REPO_MIRROR": True,
            "FEATURE_ORG_MIRROR": True,
            "SUPER_USERS": ["admin"],
            "INITIAL_SUPERUSER_PASSWORD": LOGIN,
        },
        "registry_mirrors_url": f"http://127.0.0.1:{registry.server_port}",
        "registry_mirrors": MIRRORS,
        "registry_organization_mirrors": ORGANIZATIONS,
        "vault_upstream_password": PASSWORD,
    }
    sites = {"atoll_sites": {"hosts": {"us-1": None, "eu-1": None}}}
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(
        yaml.safe_dump({"all": {"vars": variables, "children": sites}}, sort_keys=False)
    )

    def run(*words):
        registry.changes.clear()
        done = subprocess.run(
            [TOOLS / "ansible-playbook", "-i", inventory, "playbooks/mirrors.yml", *words],
            check=False,
            cwd=root,
            env={**os.environ, "HOME": str(tmp_path), "ANSIBLE_NOCOLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def test_mirrors_and_what_they_need_are_created_once_without_printing_secrets(registry, apply):
    first = apply("-vvv", "--diff")

    assert sorted(registry.changes) == [
        ("POST", "/api/v1/organization"),
        ("POST", "/api/v1/organization"),
        ("POST", "/api/v1/organization/platform/mirror"),
        ("POST", "/api/v1/repository"),
        ("POST", "/api/v1/repository"),
        ("POST", "/api/v1/repository/acme/app/mirror"),
        ("POST", "/api/v1/repository/admin/base/mirror"),
        ("PUT", "/api/v1/organization/acme/robots/mirror"),
        ("PUT", "/api/v1/organization/platform/robots/mirror"),
        ("PUT", "/api/v1/user/robots/copies"),
    ]
    created = registry.objects["/api/v1/repository/acme/app/mirror"]
    assert created["external_registry_password"] == PASSWORD
    assert created["root_rule"]["rule_value"] == ["1.*"]
    assert created["atoll"] == {"newest": 3}
    assert created["robot_username"] == "acme+mirror"
    created = registry.objects["/api/v1/organization/platform/mirror"]
    assert created["external_registry_password"] == PASSWORD
    assert created["repository_filters"] == ["tools-*"]
    assert created["atoll"] == {**ORGANIZATION_OPTIONS, "delete_after": 60}
    assert created["external_registry_config"]["proxy"]["https_proxy"] == "http://proxy.test:3128"
    for secret in (PASSWORD, LOGIN, "s3cret-token"):
        assert secret not in first

    second = apply()

    assert registry.changes == []
    assert re.search(r"us-1 .*changed=0 ", second)
    assert re.search(r"eu-1 .*changed=0 .*skipped=7", second)


def test_check_mode_reports_mirrors_that_it_does_not_create(registry, apply):
    registry.objects["/health/instance"] = {}

    output = apply("--check")

    assert registry.changes == []
    assert re.search(r"us-1 .*changed=[1-9]", output), output
    assert re.search(r"changed: \[us-1\] => \(item=platform\)", output), output


@pytest.mark.parametrize("module", [repository_mirror, organization_mirror])
def test_each_option_of_the_modules_is_passed(root, module):
    name = f"atoll.registry.{module.__name__.rpartition('.')[2]}"
    tasks = yaml.safe_load((root / "roles/registry/tasks/mirrors.yml").read_text())
    (passed,) = [task[name] for task in tasks[1]["block"] if name in task]

    assert set(passed) == set(module.ARGUMENTS)
