"""The collection's modules for accounts and repositories, against a registry.

The tests run the examples in the documentation of each module.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import jinja2
import jinja2.nativetypes
import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from atoll.auth import users
from atoll.auth.api_tokens import SCOPES, ApiTokens

from .site import PASSWORD, SUPERUSER, Site

ROOT = Path(__file__).resolve().parents[3]
MODULES = ("user", "organization", "repository", "robot", "permission")
SECRETS = {
    "registry_superuser_password": PASSWORD,
    "alice_password": "alice's password",
    "bob_password": "bob's password",
}
# Failed results have a message.
Result = dict[str, Any]


class Modules:
    """Runs modules for the registry at a URL, with a superuser's token."""

    def __init__(self, url: str, token: str, capture: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self._token = token
        self._capture = capture

    def run(self, module: str, *, check: bool = False, **arguments: Any) -> Result:
        """Run a module and return its result."""
        if "username" not in arguments:
            arguments["token"] = self._token
        given = {"registry_url": self.url, **arguments, "_ansible_check_mode": check}
        program = importlib.import_module(
            f"ansible_collections.atoll.registry.plugins.modules.{module}"
        )
        with patch_module_args(given), pytest.raises(SystemExit):
            program.main()
        printed = self._capture.readouterr().out
        for secret in SECRETS.values():
            assert secret not in printed
        result: Result = json.loads(printed)
        return result

    def examples(self, module: str, *, check: bool = False) -> list[Result]:
        """Run the examples in the documentation of a module, and return their results."""
        source = (ROOT / f"plugins/modules/{module}.py").read_text()
        environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)
        known: dict[str, Any] = dict(SECRETS)
        results = []
        for task in yaml.safe_load(source.split('EXAMPLES = r"""')[1].split('"""')[0]):
            [name] = [name for name in task if "." in name]
            arguments = {
                key: environment.from_string(value).render(known)
                if isinstance(value, str)
                else value
                for key, value in task[name].items()
            }
            if name != f"atoll.registry.{module}":
                # The example prints the result.
                assert arguments["msg"] is not None
                continue
            # A token is accepted like the password, and is much faster to verify.
            del arguments["registry_url"], arguments["username"], arguments["password"]
            results.append(self.run(module, check=check, **arguments))
            if "register" in task:
                known[task["register"]] = results[-1]
        return results


@pytest.fixture
def modules(
    us: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Modules:
    collection = tmp_path / "ansible_collections/atoll/registry"
    collection.parent.mkdir(parents=True)
    collection.symlink_to(ROOT, target_is_directory=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    token = ApiTokens(us.services.database).create(SUPERUSER, sorted(SCOPES), seconds=3600)
    return Modules(us.url, token, capsys)


def test_documented_examples_change_something_once_only(modules: Modules, us: Site) -> None:
    def all_accounts() -> dict[str, bool]:
        return {
            user.username: user.enabled
            for user in users.list_users(us.services.database, disabled=True)
        }

    for module in MODULES:
        planned = modules.examples(module, check=True)
        assert not any(result.get("failed") for result in planned), planned
    assert all_accounts() == {SUPERUSER: True}

    for module in MODULES:
        first = modules.examples(module)
        assert not any(result.get("failed") for result in first), first
        assert any(result["changed"] for result in first)
    assert all_accounts() == {SUPERUSER: True, "alice": True, "bob": False}

    for module in MODULES:
        again = modules.examples(module)
        assert not any(result.get("failed") or result["changed"] for result in again), again

    facts: Result = {}
    for module in MODULES:
        for result in modules.examples(f"{module}_info"):
            assert not result["changed"]
            facts |= result
    assert [robot["name"] for robot in facts["robots"]] == ["payments+ci"]
    roles = {one["name"]: one["role"] for one in facts["permissions"]["users"]}
    assert roles["payments+ci"] == "write"
    assert roles["alice"] == "read"
    assert facts["organizations"][0]["email"] == "payments@example.com"
    assert facts["repositories"][0]["name"] == "terminal"
    assert {user["username"] for user in facts["users"]} == {SUPERUSER, "alice", "bob"}


def test_a_module_changes_only_what_differs(modules: Modules) -> None:
    name = "admin/app"
    login = {"username": SUPERUSER, "password": PASSWORD}
    assert modules.run("repository", name=name, description="first")["changed"]
    assert modules.run("repository", name=name, visibility="public")["changed"]
    result = modules.run("repository", **login, name=name, read_only=True)
    assert result["changed"]
    assert result["repository"] == {
        "name": name,
        "visibility": "public",
        "description": "first",
        "read_only": True,
    }
    assert result["diff"]["before"] == {**result["repository"], "read_only": False}
    assert modules.run("organization", name="payments")["changed"]
    assert modules.run("organization", name="payments", email="p@example.com")["changed"]
    assert modules.run("organization", name="payments", state="absent")["changed"]


def test_a_password_is_changed_only_if_it_differs(modules: Modules) -> None:
    def set_password(password: str, update: str) -> bool:
        result = modules.run("user", name="alice", user_password=password, update_password=update)
        return bool(result["changed"])

    assert set_password("alice's password", "on_create")
    assert not set_password("bob's password", "on_create")
    assert set_password("bob's password", "always")
    assert not set_password("bob's password", "always")


def test_a_role_is_granted_changed_and_revoked(modules: Modules) -> None:
    who = {"repository": "admin/app", "user": "alice"}
    modules.run("repository", name="admin/app")
    modules.run("user", name="alice", user_password="alice's password")
    assert modules.run("permission", **who, role="admin")["changed"]
    result = modules.run("permission", **who)
    assert result["changed"]
    assert result["permission"] == {"name": "alice", "role": "read"}
    assert modules.run("permission", **who, state="absent")["changed"]
    assert not modules.run("permission", **who, state="absent")["changed"]


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (
            "organization",
            {"username": SUPERUSER, "password": "wrong password"},
            "Check the password or the token",
        ),
        ("organization", {"registry_url": "http://127.0.0.1:1"}, "cannot be reached"),
        ("user", {}, "set user_password to create it"),
        ("repository", {}, "NAMESPACE/NAME"),
        ("robot", {"organization": "nobodys"}, "nobodys"),
        ("permission", {"name": None, "repository": "admin/app", "user": "nobody"}, "admin/app"),
    ],
)
def test_an_error_names_the_problem_and_the_remedy(
    modules: Modules, module: str, arguments: Result, message: str
) -> None:
    given = {"name": "unknown", **arguments}
    result = modules.run(
        module, **{key: value for key, value in given.items() if value is not None}
    )
    assert result["failed"]
    assert message in result["msg"]
