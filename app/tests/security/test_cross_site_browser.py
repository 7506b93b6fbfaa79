"""A browser that is signed in opens a page of an attacker: nothing changes."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
import requests

from ..image.running import RunningImage
from ..integration.services import wait_until
from .accounts import Account, new_account, unique
from .browser import Browser, running_browser, running_page

REGISTRY = "registry.test"
# A page without a Content-Security-Policy, so that its scripts may send requests.
OWN_PAGE = "/health/instance"
# Another site, and another host of the same site, to which browsers send SameSite cookies.
EVIL_HOSTS = ("evil.example", "pages.registry.test")
SIGN_IN = """
const [username, password] = args;
const token = (await (await fetch('/csrf_token')).json()).csrf_token;
const answer = await fetch('/api/v1/signin', {
    method: 'POST',
    headers: {'Content-Type': 'application/json', 'X-CSRF-Token': token},
    body: JSON.stringify({username, password}),
});
return answer.status;
"""
CREATE = """
const token = (await (await fetch('/csrf_token')).json()).csrf_token;
const answer = await fetch('/api/v1/organization/', {
    method: 'POST',
    headers: {'Content-Type': 'application/json', 'X-CSRF-Token': token},
    body: JSON.stringify({name: args[0]}),
});
return answer.status;
"""
# Submit a form into a frame, and wait until the frame has the response (or an error page).
SUBMIT = """
const [action, type, fields] = args;
const frame = document.createElement('iframe');
frame.name = 'f' + Math.random();
document.body.append(frame);
const form = document.createElement('form');
Object.assign(form, {action, method: 'POST', enctype: type, target: frame.name});
for (const [name, value] of Object.entries(fields)) {
    const input = document.createElement('input');
    Object.assign(input, {name, value});
    form.append(input);
}
document.body.append(form);
const loaded = new Promise(done => frame.addEventListener('load', done));
form.submit();
await loaded;
return 'sent';
"""
FETCH = """
const [url, method, body, type] = args;
const options = {method, mode: 'no-cors', credentials: 'include'};
if (body !== null) options.body = type === null ? new Blob([body]) : new Blob([body], {type});
try { await fetch(url, options); } catch (error) { return String(error); }
return 'sent';
"""
# Properties for which a fetch with CORS needs a preflight.
FETCH_JSON = """
const [url, method, body] = args;
try {
    await fetch(url, {
        method, credentials: 'include', body,
        headers: {'Content-Type': 'application/json'},
    });
} catch (error) { return String(error); }
return 'sent';
"""
LOAD = """
const [url, tag] = args;
const element = document.createElement(tag);
document.body.append(element);
const ended = new Promise(done => { element.onload = element.onerror = done; });
element.src = url;
await ended;
return 'sent';
"""
ADD_BUTTON = """
const form = document.createElement('form');
Object.assign(form, {action: args[0], method: 'POST'});
form.innerHTML = '<button>Win</button>';
document.body.append(form);
"""
ADD_LINK = """
const link = document.createElement('a');
Object.assign(link, {href: args[0], textContent: 'Win'});
document.body.append(link);
"""
TYPES = ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data")


@dataclass(frozen=True)
class Scene:
    """A victim's browser, and the victim's accounts and objects."""

    browser: Browser
    image: RunningImage
    victim: Account
    session: requests.Session
    organization: str
    client_id: str
    page_port: int

    @property
    def url(self) -> str:
        """The registry's address in the browser."""
        return f"https://{REGISTRY}:{urlsplit(self.image.tls_url).port}"

    def open_evil(self, host: str) -> None:
        self.browser.open(f"https://{host}:{self.page_port}/")

    def sign_in(self) -> None:
        self.browser.send_always({})
        status = self._run_own(SIGN_IN, self.victim.username, self.victim.password)
        assert status == 200

    def is_signed_in(self) -> bool:
        return bool(self._run_own("return (await fetch('/api/v1/user/')).ok;"))

    def _run_own(self, script: str, *arguments: object) -> object:
        """Run a script in a page of the registry."""
        self.browser.open(f"{self.url}{OWN_PAGE}")
        return self.browser.run(script, *arguments)

    def wait_for(self, url: str) -> None:
        """Wait until the browser shows a URL, as a click may return before the page has changed."""
        wait_until(f"the browser shows {url}", lambda: self.browser.address() == url)

    def cache_password(self) -> None:
        """Let the browser add the victim's password to all requests, as for HTTP Basic.

        The registry never makes a browser ask for one, but a browser may have it from another
        version.
        """
        encoded = b64encode(f"{self.victim.username}:{self.victim.password}".encode()).decode()
        self.browser.send_always({"Authorization": f"Basic {encoded}"})

    def state(self) -> object:
        """Return everything that the attacks below try to change, from the API."""
        paths = (
            "/api/v1/user/",
            "/api/v1/user/authorizations",
            f"/api/v1/organization/{self.organization}",
            f"/api/v1/organization/{self.organization}/applications",
        )
        answers = [self.session.get(f"{self.image.tls_url}{path}") for path in paths]
        assert {answer.status_code for answer in answers} == {200}
        return [answer.json() for answer in answers]

    def attacks(self) -> list[tuple[str, str, dict[str, str]]]:
        """Return requests that would change something: method, path and fields."""
        organization = f"/api/v1/organization/{self.organization}"
        application = f"{organization}/applications/{self.client_id}"
        authorization = {
            "client_id": self.client_id,
            "redirect_uri": "https://evil.example/cb",
            "scope": "user:admin",
            "response_type": "token",
        }
        return [
            ("POST", "/api/v1/organization/", {"name": unique("evil")}),
            ("POST", f"{organization}/applications", {"name": unique("evil")}),
            ("POST", f"{application}/resetclientsecret", {}),
            ("POST", "/oauth/authorizeapp", authorization),
            ("POST", "/api/v1/signout", {}),
            ("PUT", "/api/v1/user/", {"email": "evil@evil.example"}),
            ("DELETE", organization, {}),
        ]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    log: Path = tmp_path_factory.mktemp("browser") / "chromedriver.log"
    with running_browser([REGISTRY, *EVIL_HOSTS], log) as running:
        yield running


@pytest.fixture(scope="module")
def scene(image: RunningImage, browser: Browser) -> Iterator[Scene]:
    victim = new_account(image)
    organization = victim.create_organization()
    client_id = victim.create_application(organization, "https://evil.example/cb")
    session = victim.sign_in()
    # The application has a token of the victim already, so that a link would need no confirmation.
    answer = session.post(
        f"{image.tls_url}/oauth/authorizeapp",
        json={
            "client_id": client_id,
            "redirect_uri": "https://evil.example/cb",
            "scope": "user:admin",
        },
        allow_redirects=False,
    )
    assert answer.status_code == 302, answer.text
    with running_page(image.bundle_directory) as port:
        yield Scene(browser, image, victim, session, organization, client_id, port)


def test_the_registrys_own_page_changes_things(scene: Scene) -> None:
    """Otherwise the attacks below could fail for another reason."""
    scene.sign_in()
    assert "session" in scene.browser.cookies()
    name = unique("org")
    assert scene.browser.run(CREATE, name) == 201
    assert scene.victim.request("GET", f"/api/v1/organization/{name}").status_code == 200


WITH_AND_WITHOUT_PASSWORD = pytest.mark.parametrize(
    "cached", [False, True], ids=["session", "basic"]
)


@WITH_AND_WITHOUT_PASSWORD
@pytest.mark.parametrize("host", EVIL_HOSTS)
def test_forms_of_a_foreign_page_change_nothing(scene: Scene, host: str, *, cached: bool) -> None:
    scene.sign_in()
    before = scene.state()
    if cached:
        scene.cache_password()
    scene.open_evil(host)
    for method, path, fields in scene.attacks():
        for kind in TYPES if method == "POST" else ():
            assert scene.browser.run(SUBMIT, scene.url + path, kind, fields) == "sent"
    # A name and a value around the equals sign that form a JSON document.
    for path in (
        "/api/v1/organization/",
        f"/api/v1/organization/{scene.organization}/applications",
    ):
        fields = {f'{{"name":"{unique("evil")}","x":"': '"}'}
        assert scene.browser.run(SUBMIT, scene.url + path, "text/plain", fields) == "sent"
    scene.browser.send_always({})
    assert scene.state() == before
    assert scene.is_signed_in()


@WITH_AND_WITHOUT_PASSWORD
@pytest.mark.parametrize("host", EVIL_HOSTS)
def test_scripts_of_a_foreign_page_change_nothing(scene: Scene, host: str, *, cached: bool) -> None:
    scene.sign_in()
    before = scene.state()
    if cached:
        scene.cache_password()
    scene.open_evil(host)
    for method, path, fields in scene.attacks():
        body = json.dumps(fields)
        for kind in (*TYPES[:2], None) if method == "POST" else ():
            scene.browser.run(FETCH, scene.url + path, method, body, kind)
        scene.browser.run(FETCH_JSON, scene.url + path, method, body)
    scene.browser.send_always({})
    assert scene.state() == before
    assert scene.is_signed_in()


@pytest.mark.parametrize("host", EVIL_HOSTS)
def test_links_images_and_frames_of_a_foreign_page_change_nothing(scene: Scene, host: str) -> None:
    scene.sign_in()
    before = scene.state()
    scene.open_evil(host)
    for _, path, fields in scene.attacks():
        for tag in ("img", "iframe"):
            url = f"{scene.url}{path}?{urlencode(fields)}"
            assert scene.browser.run(LOAD, url, tag) == "sent"
    for path in ("/oauth/authorize", "/oauth/authorizeapp"):
        fields = {
            "client_id": scene.client_id,
            "redirect_uri": "https://evil.example/cb",
            "scope": "user:admin",
            "response_type": "token",
        }
        scene.open_evil(host)
        url = f"{scene.url}{path}?{urlencode(fields)}"
        # A click on a link sends the cookie.
        scene.browser.run(ADD_LINK, url)
        scene.browser.click("a")
        scene.wait_for(url)
    scene.browser.send_always({})
    assert scene.state() == before
    assert scene.is_signed_in()


@pytest.mark.parametrize("host", EVIL_HOSTS)
def test_a_form_of_a_foreign_page_cannot_sign_out_the_user(scene: Scene, host: str) -> None:
    scene.sign_in()
    scene.open_evil(host)
    # In the whole window, where the response may set and remove cookies.
    url = f"{scene.url}/api/v1/signout"
    scene.browser.run(ADD_BUTTON, url)
    scene.browser.click("button")
    scene.wait_for(url)
    assert scene.is_signed_in()


def test_a_foreign_page_creates_no_account(scene: Scene) -> None:
    account = Account(scene.image, unique("user"), "correct horse battery staple")
    start = json.dumps({"username": account.username, "password": account.password})[:-1]
    scene.open_evil(EVIL_HOSTS[0])
    fields = {start + ',"x":"': '"}'}
    url = f"{scene.url}/api/v1/user/"
    assert scene.browser.run(SUBMIT, url, "text/plain", fields) == "sent"
    found = scene.victim.request("GET", f"/api/v1/entities/{account.username}")
    assert found.json()["results"] == []
