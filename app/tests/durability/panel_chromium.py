"""Debian's Chromium, driven by Playwright, and a server with the panel."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import waitress.server
from atoll.web.app import create_app
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

from ..integration import steady_chromium
from .sites import MemorySite

# The tests run as root. Names of other hosts are not found.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
# In milliseconds; long, because the machine may be busy.
_PATIENCE = 300_000


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Run a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=steady_chromium.PATH, args=_ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def served(site: MemorySite) -> Iterator[str]:
    """Serve a site in a thread, and return the address of its panel."""
    app = create_app(site.graph.dependencies())
    server = waitress.server.create_server(app, host="127.0.0.1", port=0, threads=4)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    with closing(server):
        yield f"http://127.0.0.1:{server.effective_port}"


@dataclass
class Tab:
    """A tab of the browser with cookies of its own.

    Attributes:
        url: The address of the panel.
        page: The page.
        problems: Errors and warnings of the console, and failed requests.
        addresses: The addresses of all requests.
    """

    url: str
    page: Page
    problems: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    @classmethod
    def opened(cls, context: BrowserContext, url: str) -> Tab:
        """Return a new tab."""
        context.set_default_timeout(_PATIENCE)
        tab = cls(url, context.new_page())
        tab.page.on("console", lambda one: tab.problems.append(f"{one.type}: {one.text}"))
        tab.page.on("pageerror", lambda error: tab.problems.append(str(error)))
        tab.page.on("request", lambda one: tab.addresses.append(one.url))
        tab.page.on("requestfailed", tab._failed)
        return tab

    def open(self, path: str) -> None:
        """Open a page of the panel and forget the requests and problems of earlier pages."""
        self.problems.clear()
        self.addresses.clear()
        answer = self.page.goto(self.url + path)
        assert answer is not None
        assert answer.status == 200, f"{path}: {answer.status}"

    def sign_in(self, username: str, password: str) -> None:
        """Sign in by the form."""
        self.open("/signin/")
        self.page.fill("#field-username", username)
        self.page.fill("#field-password", password)
        self.page.click("button.primary")
        self.page.wait_for_selector("details.menu")

    @property
    def other_origins(self) -> set[str]:
        """The origins of requests that left the panel."""
        ours = urlsplit(self.url)
        parts = [urlsplit(one) for one in self.addresses]
        return {one.netloc for one in parts if (one.scheme, one.netloc) != ours[:2]}

    def facts(self) -> list[str]:
        """Return the words of the main part, without those that the script shows or changes.

        Numbers are left out, because they may differ a moment later.
        """
        script = """main => {
            const copy = main.cloneNode(true);
            for (const one of copy.querySelectorAll("button[data-copy]")) one.remove();
            for (const one of copy.querySelectorAll("time[datetime]"))
                one.textContent = one.getAttribute("datetime");
            return copy.textContent;
        }"""
        text: str = self.page.eval_on_selector("main", script)
        return re.sub(r"\d+", "0", text).split()

    def _failed(self, request: Request) -> None:
        self.problems.append(f"{request.url}: {request.failure}")


def signed_in(browser: Browser, url: str, username: str, password: str) -> Any:
    """Return the cookies of a user, for `storage_state` of a new context."""
    with closing(browser.new_context()) as context:
        Tab.opened(context, url).sign_in(username, password)
        return context.storage_state()
