"""A headless Chromium, controlled by the W3C WebDriver protocol, and pages of other sites."""

from __future__ import annotations

import http.server
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from ..integration import steady_chromium

_PORT = re.compile(r"started successfully on port (\d+)")


class Browser:
    """One browser with a profile of its own."""

    def __init__(self, driver: str, hosts: list[str]) -> None:
        self._http = requests.Session()
        self._http.trust_env = False
        rules = ", ".join(f"MAP {host} 127.0.0.1" for host in hosts)
        options = {
            "binary": str(steady_chromium.PATH),
            "args": [
                "--headless=new",
                "--no-sandbox",  # The tests run as root.
                "--disable-dev-shm-usage",
                "--disable-gpu",
                "--disable-background-networking",
                "--no-proxy-server",
                "--ignore-certificate-errors",
                f"--host-resolver-rules={rules}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        }
        capabilities = {
            "alwaysMatch": {
                "browserName": "chrome",
                "goog:chromeOptions": options,
                # In milliseconds; long, because the machine may be busy.
                "timeouts": {"script": 300_000, "pageLoad": 300_000},
            }
        }
        self._base = f"{driver}/session"
        created = self._call("POST", "", {"capabilities": capabilities})
        self._base = f"{self._base}/{created['sessionId']}"

    def open(self, url: str) -> None:
        """Navigate to a page, as if the user followed a link."""
        self._call("POST", "/url", {"url": url})

    def send_always(self, headers: dict[str, str]) -> None:
        """Add headers to every request from now on, from any page."""
        for command, parameters in (
            ("Network.enable", {}),
            ("Network.setExtraHTTPHeaders", {"headers": headers}),
        ):
            self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def run(self, script: str, *arguments: object) -> Any:
        """Run the body of an async function in the page, and return the result."""
        body = (
            "const done = arguments[arguments.length - 1];"
            f"(async (...args) => {{ {script} }})(...arguments)"
            ".then(done, error => done('failed: ' + error));"
        )
        return self._call("POST", "/execute/async", {"script": body, "args": list(arguments)})

    def click(self, selector: str) -> None:
        """Click the element that matches a CSS selector, and wait for the page that this opens."""
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        (element,) = found.values()
        self._call("POST", f"/element/{element}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Type text into the element that matches a CSS selector, or press a key of WebDriver."""
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        (element,) = found.values()
        self._call("POST", f"/element/{element}/value", {"text": text})

    def resize(self, width: int, height: int) -> None:
        """Set the size of the page in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        parameters = {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}
        self._call("POST", "/goog/cdp/execute", parameters)

    def console(self) -> list[str]:
        """Return the warnings and errors that the console has had since the last call."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def address(self) -> str:
        """Return the address of the page."""
        return str(self._call("GET", "/url"))

    def cookies(self) -> set[str]:
        """Return the names of the cookies that the page's site has."""
        return {cookie["name"] for cookie in self._call("GET", "/cookie")}

    def close(self) -> None:
        self._call("DELETE", "")

    def _call(self, method: str, path: str, body: object = None) -> Any:
        answer = self._http.request(method, f"{self._base}{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]


@contextmanager
def running_browser(hosts: list[str], log: Path) -> Iterator[Browser]:
    """Run Chromium until the block ends. All given hosts resolve to this machine, no others do."""
    with log.open("w+") as output:
        driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=output, text=True
        )
    try:
        assert driver.stdout is not None
        ports = (_PORT.search(line) for line in driver.stdout)
        port = next(found[1] for found in ports if found)
        browser = Browser(f"http://127.0.0.1:{port}", hosts)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.terminate()
        driver.wait()


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>evil</title><p>You have won."
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Disable the log."""


@contextmanager
def running_page(directory: Path) -> Iterator[int]:
    """Serve a page over TLS with the certificate in a directory, and yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "ssl.cert", directory / "ssl.key")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    # Handshakes run in the connections' own threads, because browsers open idle connections.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
