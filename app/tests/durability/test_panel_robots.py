"""Users create and delete robots of their own and of organizations, and replace their tokens."""

from __future__ import annotations

import base64
import json
import re
import shlex
from html import unescape
from typing import Any

import pytest
import yaml
from atoll.auth.credentials import ROBOT_PURPOSE
from atoll.auth.secrets import Cipher

from .api_client import ApiClient
from .panel_browser import PanelBrowser, statements
from .panel_forms import (
    ADMINISTRATOR,
    HOSTILE,
    WRITER,
    Browsers,
    check_escaped,
    check_forged_forms,
    check_fresh_login,
    check_refused_users,
    organization,
)
from .panel_site import AUDITOR, READER, STRANGER
from .sites import SUPERUSER, MemorySite

NAME = "shipyard"
ORGANIZATION = (f"/organization/{NAME}", f"organization/{NAME}/robots", NAME)
USER = (f"/user/{ADMINISTRATOR}", "user/robots", ADMINISTRATOR)
OWNERS = pytest.mark.parametrize(("page", "api", "owner"), [ORGANIZATION, USER])


@pytest.fixture(scope="module")
def client(panel_site: MemorySite) -> ApiClient:
    return organization(panel_site, NAME)


@pytest.fixture(scope="module")
def browsers(panel_site: MemorySite, client: ApiClient) -> Browsers:
    del client
    return Browsers(panel_site)


@pytest.fixture
def administrator(browsers: Browsers) -> PanelBrowser:
    return browsers[ADMINISTRATOR]


def robots(client: ApiClient, api: str) -> dict[str, Any]:
    return {one["name"]: one for one in client.call("GET", api)["robots"]}


def forms(page: str, owner: str) -> dict[str, dict[str, str]]:
    return {
        f"{page}/robots/new": {"name": "other"},
        f"{page}/robots/ci/regenerate": {"robot": f"{owner}+ci"},
        f"{page}/robots/ci/delete": {"robot": f"{owner}+ci"},
    }


@pytest.fixture
def existing(client: ApiClient) -> None:
    for _, api, owner in (ORGANIZATION, USER):
        if f"{owner}+ci" not in robots(client, api):
            client.call("PUT", f"{api}/ci", {"description": HOSTILE}, status=201)


@OWNERS
def test_the_token_of_a_new_robot_is_in_the_answer_to_its_form_only(
    administrator: PanelBrowser, client: ApiClient, page: str, api: str, owner: str
) -> None:
    path = f"{page}/robots/new"
    fields = {"name": "new", "description": "builds"}
    answer = administrator.send(path, fields, token=administrator.token(path))
    robot = robots(client, api)[f"{owner}+new"]
    assert (answer.status_code, robot["description"]) == (200, "builds")
    assert robot["token"] in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert "location" not in answer.headers
    for later in (f"{page}?tab=robots", f"{page}/robots/new/regenerate", f"{page}/robots/new"):
        source = administrator.get(later).text
        assert robot["token"] not in source
    assert f"{owner}+new" in administrator.text(f"{page}?tab=robots")
    answer = administrator.send(path, fields, token=administrator.token(path))
    assert answer.status_code == 400
    assert "already exists" in answer.text
    assert robot["token"] not in answer.text


def test_the_lines_log_clients_in_and_the_secret_is_one_of_kubernetes(
    panel_site: MemorySite, administrator: PanelBrowser, client: ApiClient
) -> None:
    path = f"/organization/{NAME}/robots/new"
    answer = administrator.send(path, {"name": "k8s_1"}, token=administrator.token(path))
    token = robots(client, ORGANIZATION[1])[f"{NAME}+k8s_1"]["token"]
    host = panel_site.graph.bundle.server_hostname
    copied = [unescape(one) for one in re.findall(r'data-copy="([^"]*)"', answer.text)]
    for command in ("podman login", "docker login", "helm registry login"):
        line = next(one for one in copied if f"| {command} " in one)
        user = ["-u", f"{NAME}+k8s_1", "--password-stdin", host]
        assert shlex.split(line) == ["echo", token, "|", *command.split(), *user]
    secret = yaml.safe_load(next(one for one in copied if "apiVersion" in one))
    assert (secret["kind"], secret["type"]) == ("Secret", "kubernetes.io/dockerconfigjson")
    assert secret["metadata"] == {"name": f"{NAME}-k8s-1-pull-secret"}
    login = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"][host]
    assert (login["username"], login["password"]) == (f"{NAME}+k8s_1", token)
    assert base64.b64decode(login["auth"]).decode() == f"{NAME}+k8s_1:{token}"


@OWNERS
@pytest.mark.usefixtures("existing")
def test_a_token_is_replaced_after_a_confirmation_and_shown_once(
    administrator: PanelBrowser, client: ApiClient, page: str, api: str, owner: str
) -> None:
    path, fields = f"{page}/robots/ci/regenerate", {"robot": f"{owner}+ci"}
    check_fresh_login(administrator, path, fields, lambda: robots(client, api))
    before = robots(client, api)[f"{owner}+ci"]["token"]
    answer = administrator.send(path, fields, token=administrator.token(path))
    after = robots(client, api)[f"{owner}+ci"]["token"]
    assert answer.status_code == 200
    assert after != before
    assert after in answer.text
    assert before not in answer.text
    assert after not in administrator.get(path).text


@OWNERS
@pytest.mark.usefixtures("existing")
def test_a_robot_is_deleted_after_a_confirmation(
    administrator: PanelBrowser, client: ApiClient, page: str, api: str, owner: str
) -> None:
    path, fields = f"{page}/robots/ci/delete", {"robot": f"{owner}+ci"}
    check_fresh_login(administrator, path, fields, lambda: robots(client, api))
    assert administrator.submit(path, fields) == f"{page}?tab=robots"
    assert f"{owner}+ci" not in robots(client, api)
    administrator.get(path, status=400)


@OWNERS
@pytest.mark.usefixtures("existing")
def test_forms_of_robots_need_the_token_of_their_session(
    browsers: Browsers, client: ApiClient, page: str, api: str, owner: str
) -> None:
    check_forged_forms(browsers, ADMINISTRATOR, forms(page, owner), lambda: robots(client, api))


@pytest.mark.usefixtures("existing")
def test_forms_of_robots_are_for_administrators(browsers: Browsers, client: ApiClient) -> None:
    for page, api, owner in (ORGANIZATION, USER):
        check_refused_users(
            browsers, forms(page, owner), {ADMINISTRATOR}, lambda api=api: robots(client, api)
        )
        for form in forms(page, owner):
            for user in (WRITER, READER, STRANGER, AUDITOR):
                browsers[user].get(form, status=403)
            browsers[None].get(form, status=303)


@pytest.mark.usefixtures("existing")
def test_robots_are_listed_as_by_the_api(panel_site: MemorySite, browsers: Browsers) -> None:
    page, api, _ = ORGANIZATION
    for user in (None, SUPERUSER, ADMINISTRATOR, WRITER, READER, STRANGER, AUDITOR):
        expected = ApiClient(panel_site, user).request("GET", api).status_code
        answer = browsers[user].get(
            f"{page}?tab=robots", status=303 if expected == 401 else expected
        )
        assert (f"{NAME}+ci" in answer.text) is (expected == 200)
        shown = browsers[user].get(page).text
        assert ("?tab=robots" in shown) is (expected == 200), user
    assert "/robots/new" not in browsers[AUDITOR].text(f"{page}?tab=robots")
    browsers[READER].get(f"{USER[0]}?tab=robots", status=403)


@OWNERS
def test_a_robot_whose_token_has_another_key_is_listed_and_gets_a_new_one(
    panel_site: MemorySite,
    client: ApiClient,
    administrator: PanelBrowser,
    page: str,
    api: str,
    owner: str,
) -> None:
    for short in ("restored", "healthy"):
        client.call("PUT", f"{api}/{short}", {"description": ""}, status=201)
    foreign = Cipher(b"the key of another bundle").encrypt("A" * 64, ROBOT_PURPOSE)
    panel_site.database.run(
        'UPDATE "user" SET robot_secret = %s WHERE username = %s RETURNING id',
        [foreign, f"{owner}+restored"],
    )
    listed = robots(client, api)
    assert listed[f"{owner}+restored"]["token"] is None
    assert len(listed[f"{owner}+healthy"]["token"]) == 64
    assert client.call("GET", f"{api}/restored")["token"] is None
    assert f"{owner}+restored" in administrator.text(f"{page}?tab=robots")
    renewed = client.call("POST", f"{api}/restored/regenerate")
    assert robots(client, api)[f"{owner}+restored"]["token"] == renewed["token"]
    for short in ("restored", "healthy"):
        client.call("DELETE", f"{api}/{short}", status=204)


@pytest.mark.usefixtures("existing")
def test_pages_of_robots_cost_at_most_three_statements_and_escape_texts(
    administrator: PanelBrowser,
) -> None:
    for page, _, owner in (ORGANIZATION, USER):
        check_escaped(administrator, f"{page}?tab=robots")
        check_escaped(administrator, f"{page}/robots/ci/delete")
        for path in (f"{page}?tab=robots", *forms(page, owner)):
            assert statements(administrator.get(path)) <= 3, path
        path = f"{page}/robots/new"
        answer = administrator.send(path, {"name": HOSTILE}, token=administrator.token(path))
        assert answer.status_code == 400
        assert "&lt;script&gt;" in answer.text
        assert "<script>alert" not in answer.text
