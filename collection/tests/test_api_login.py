"""Modules of the API read their address and login from defaults or the environment."""

import base64
import http.server
import json
import os
import subprocess
import sys
import threading

import pytest
from tools import TOOLS

TOKEN = "token-7c1e5f0a93"
LOGIN = "Basic " + base64.b64encode(b"admin:secret").decode()


class Registry(http.server.BaseHTTPRequestHandler):
    """An API with one user, which records the logins of requests."""

    def do_GET(self):
        self.server.logins.append(self.headers["Authorization"])
        body = json.dumps({"users": [], "username": "admin", "name": "acme"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        """Log nothing."""


@pytest.fixture
def registry():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    server.logins = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def play(root, registry, tmp_path):
    """Return a function that runs a play with tasks of the API, and its exit status and output."""

    def run(defaults=None, options=None, **environment):
        tasks = [{"atoll.registry.user_info": options or {}}]
        (tmp_path / "play.yml").write_text(
            json.dumps(
                [
                    {
                        "hosts": "localhost",
                        "connection": "local",
                        "gather_facts": False,
                        "module_defaults": {"group/atoll.registry.api": defaults or {}},
                        "tasks": tasks,
                    }
                ]
            )
        )
        done = subprocess.run(
            [TOOLS / "ansible-playbook", "-vvv", "-i", "localhost,", tmp_path / "play.yml"],
            check=False,
            cwd=root,
            env={**os.environ, "ANSIBLE_PYTHON_INTERPRETER": sys.executable, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout

    run.url = f"http://127.0.0.1:{registry.server_port}"
    return run


def test_defaults_of_the_action_group_apply_to_modules_of_the_api(play, registry):
    status, output = play({"registry_url": play.url, "username": "admin", "password": "secret"})

    assert status == 0, output
    assert set(registry.logins) == {LOGIN}


def test_address_and_token_are_read_from_the_environment(play, registry):
    status, output = play(ATOLL_URL=play.url, ATOLL_TOKEN=TOKEN)

    assert status == 0, output
    assert set(registry.logins) == {f"Bearer {TOKEN}"}
    assert TOKEN not in output


def test_a_user_name_takes_precedence_over_the_token_in_the_environment(play, registry):
    login = {"username": "admin", "password": "secret"}
    status, output = play(options=login, ATOLL_URL=play.url, ATOLL_TOKEN=TOKEN)

    assert status == 0, output
    assert set(registry.logins) == {LOGIN}


def test_without_any_login_the_failure_names_the_options(play, registry):
    status, output = play(ATOLL_URL=play.url)

    assert status != 0
    assert "set token, username, or ATOLL_TOKEN in the environment" in output
    assert not registry.logins


def test_an_unusable_certificate_file_in_the_environment_is_not_ignored(play):
    url = play.url.replace("http:", "https:")
    status, output = play(ATOLL_URL=url, ATOLL_TOKEN=TOKEN, ATOLL_CA_PATH="/nonexistent.crt")

    assert status != 0
    assert "No such file or directory" in output
