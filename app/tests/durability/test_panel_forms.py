"""Every form of the panel needs the token of its session, and a login."""

from __future__ import annotations

import re
from typing import Any

import pytest
from atoll.names import Digest
from atoll.web.app import create_app
from atoll.web.panel.api_calls import ApiCalls

from .panel_browser import PanelBrowser
from .panel_forms import organization
from .panel_site import PRIVATE
from .sites import SUPERUSER, MemorySite

# A value for each field of the paths of forms; other fields have "absent".
FIELDS = {
    "change": "delete",
    "digest": str(Digest.of(b"absent")),
    "location": "us",
    "orgname": "formed",
    "repository": str(PRIVATE),
    "tag": "v1",
    "username": SUPERUSER,
    "uuid": "8f0cd62c-9b3f-4c39-9ddd-2f1a1b6d5a2e",
}
# Forms of which the query selects one.
SELECTED = {"/organization/{orgname}": "?tab=mirroring"}
# Forms that visitors may send.
BEFORE_LOGIN = {"/signin", "/signout"}


@pytest.fixture(scope="module")
def forms(panel_site: MemorySite) -> dict[str, str]:
    """The paths of all forms by their URI templates."""
    organization(panel_site, FIELDS["orgname"])
    router: Any = create_app(panel_site.graph.dependencies())._router
    templates = [
        route.uri_template
        for route in router
        if hasattr(getattr(type(route.resource), "on_post", None), "panel")
    ]
    return {
        template: re.sub(r"\{(\w+)\}", lambda field: FIELDS.get(field[1], "absent"), template)
        + SELECTED.get(template, "")
        for template in templates
    }


def test_every_form_is_refused_without_the_token_of_its_session(
    panel_site: MemorySite, forms: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []
    for user, page in ((None, "/signin/"), (SUPERUSER, "/")):
        foreign = PanelBrowser(panel_site, user).token(page)
        browser = PanelBrowser(panel_site, user)
        browser.get(page)
        cookies = dict(browser.cookies)
        with monkeypatch.context() as patches:
            patches.setattr(ApiCalls, "run", lambda *call, **_values: calls.append(call))
            for template, path in forms.items():
                for token in (None, "", "forged", foreign):
                    answer = browser.send(path, {}, token=token)
                    assert answer.status_code == 403, (template, token)
        assert browser.cookies == cookies
    assert len(forms) > 40
    assert calls == []


def test_every_form_leads_visitors_to_the_sign_in(
    panel_site: MemorySite, forms: dict[str, str]
) -> None:
    browser = PanelBrowser(panel_site)
    token = browser.token()
    for template, path in forms.items():
        if template not in BEFORE_LOGIN:
            answer = browser.send(path, {}, token=token)
            location = answer.headers.get("location", "")
            assert location.startswith("/signin/"), (template, answer.status_code, location)
