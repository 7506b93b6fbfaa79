"""Make the working tree importable as the collection atoll.registry."""

import functools
import http.server
import importlib
import json
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = Path(__file__).resolve().parents[2]
IMPORT_ROOT = ROOT / "collection/import_root"
PODMAN = Path(__file__).parent / "podman_api.py"
UTILITIES = "ansible_collections.atoll.registry.plugins.module_utils"


def pytest_configure():
    """Let Ansible's collection importer find the plugins of the working tree."""
    if not any(isinstance(finder, _AnsibleCollectionFinder) for finder in sys.meta_path):
        _AnsibleCollectionFinder(paths=[str(IMPORT_ROOT)], scan_sys_paths=False)._install()


@pytest.fixture(scope="session")
def root():
    """Return the root of the collection."""
    return ROOT


@pytest.fixture
def example(root):
    """Return the bundle of the example inventory."""
    text = (root / "inventories/example/group_vars/all/registry.yml").read_text()
    secrets = (root / "inventories/example/group_vars/all/vault.yml.example").read_text()
    values = {name: f"{name}-5d0c1a9e7b3f48261f" for name in yaml.safe_load(secrets)}
    values |= yaml.safe_load(text)
    values["registry_hostname"] = "registry.example.org"
    trusted = _trust(values)
    return Templar(loader=DataLoader(), variables=trusted).template(trusted["registry_config"])


@pytest.fixture
def groups(example):
    """Return two sites with two hosts and a load balancer each, and a host of shared services."""

    local = {"ansible_connection": "local"}

    def site(name, other):
        return local | {
            "registry_site": name,
            "registry_storage_preference": [f"{name}storage", f"{other}storage"],
            "registry_hostname": "registry.example.com",
            "registry_config": example,
        }

    return {
        "atoll_sites": {
            "us-1": site("us", "eu"),
            "us-2": site("us", "eu"),
            "eu-1": site("eu", "us"),
            "eu-2": site("eu", "us"),
        },
        "atoll_postgres": {"shared-1": local},
        "atoll_redis": {"shared-1": local},
        "atoll_load_balancer": {
            "lb-us": local | {"load_balancer_site": "us"},
            "lb-eu": local | {"load_balancer_site": "eu"},
        },
    }


def _trust(value):
    if isinstance(value, dict):
        return {key: _trust(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_trust(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


class Failed(Exception):
    """The message with which a module would have failed."""


class FakeModule:
    """The part of AnsibleModule that the modules use."""

    def __init__(self, params=None, check_mode=False, answers=None):
        self.params = params or {}
        self.check_mode = check_mode
        self.answers = answers or {}
        self.commands = []

    def run_command(self, words):
        self.commands.append(words)
        return self.answers.get(" ".join(words[:2]), (0, "", ""))

    def fail_json(self, msg, **_details):
        raise Failed(msg)


class PodmanModule:
    """The part of AnsibleModule that locates podman, which is replaced by `podman_api`."""

    def __init__(self, folder, params=None, check_mode=False):
        self.params = params or {}
        self.check_mode = check_mode
        self.tmpdir = str(folder / "module")
        Path(self.tmpdir).mkdir(exist_ok=True)
        self.program = folder / "podman"
        self.program.write_text(f'#!/bin/sh\nexec {sys.executable} {PODMAN} "$@"\n')
        self.program.chmod(0o755)

    def get_bin_path(self, _name):
        return str(self.program) if self.program.exists() else None


@pytest.fixture
def podman_module(tmp_path):
    """Return a function that returns a module on a host with podman."""
    yield functools.partial(PodmanModule, tmp_path)
    # By name, because the collection can be imported only after `pytest_configure`.
    importlib.import_module(f"{UTILITIES}.podman_service").close_podman()


@pytest.fixture
def fake_module():
    """Return the class of a module without Ansible."""
    return FakeModule


@pytest.fixture
def failed():
    """Return the exception that a failing module raises."""
    return Failed


@pytest.fixture
def commands(monkeypatch):
    """Run commands in containers with the method `exec` of the module."""

    def run(module, container, words):
        return module.exec(container, *words)

    # By name, because the collection can be imported only after `pytest_configure`.
    monkeypatch.setattr(f"{UTILITIES}.registry_command.exec_in_container", run)


class Site(http.server.BaseHTTPRequestHandler):
    """The health endpoints of one site."""

    services: ClassVar = {"database": True, "storage": True}

    def do_GET(self):
        healthy = all(self.services.values())
        body = json.dumps({"data": {"services": self.services}}).encode()
        self.send_response(200 if healthy else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Log nothing."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return _self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def other_certificate(tmp_path_factory):
    """Return a certificate for the same name that clients do not trust."""
    return _self_signed(tmp_path_factory.mktemp("other-tls"))


def _self_signed(folder):
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=site",
            "-addext",
            "subjectAltName=DNS:registry.example.org",
            "-keyout",
            folder / "tls.key",
            "-out",
            folder / "tls.crt",
        ],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def site(certificate):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Site", (Site,), {}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def trust(certificate):
    return ssl.create_default_context(cafile=certificate / "tls.crt")
