"""nginx: its configuration and its worker processes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import jinja2

from atoll.config import Bundle
from atoll.registry.manifest_format import MAXIMUM_SIZE as MANIFEST_MAXIMUM
from atoll.server.paths import DRAINING_FILE, downloads_socket, operations_socket
from atoll.server.tls import Certificate, redirects_to_tls
from atoll.web.admission import API_BODY, SMALL_BODY
from atoll.web.panel import static_files
from atoll.web.panel.static_files import StaticFiles
from atoll.web.spool import REFUSALS

_PORT = re.compile(r":\d{1,5}$")

_STOPPING_WORKER = b"worker process is shutting down"


def write_nginx_configuration(
    target: Path,
    bundle: Bundle,
    certificate: Certificate | None,
    sockets: list[Path],
    *,
    drain: int,
    client_connections: int,
) -> None:
    """Write the configuration of nginx.

    Args:
        target: the file, in the runtime directory.
        bundle: the bundle that is served.
        certificate: the certificate of the TLS port; None if there is no such port.
        sockets: those of the web processes; each process has two more beside it.
        drain: seconds for requests in progress when nginx stops or reloads.
        client_connections: the limit of concurrent requests per client; 0 disables it.
    """
    port = _PORT.search(bundle.server_hostname)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("atoll.server", "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - not HTML
    )
    text = environment.get_template("nginx.conf.j2").render(
        runtime=target.parent,
        drain=drain,
        client_connections=client_connections,
        trusted_proxies=bundle.trusted_proxies,
        small_body=SMALL_BODY,
        api_body=API_BODY,
        manifest_body=MANIFEST_MAXIMUM,
        refusals=REFUSALS,
        draining=target.parent / DRAINING_FILE,
        sockets=sockets,
        operations=[operations_socket(socket) for socket in sockets],
        downloads=[downloads_socket(socket) for socket in sockets],
        maximum_size=bundle.maximum_layer_size,
        certificate=certificate,
        redirect=redirects_to_tls(bundle, certificate),
        # The TLS port that clients use is that of SERVER_HOSTNAME, by default 443.
        tls_port=port.group() if port else "",
        static_files=list(StaticFiles.installed()) if bundle.feature_ui_panel else [],
        static_headers=static_files.HEADERS,
    )
    target.write_text(text)


def find_nginx_problem(configuration: Path) -> str | None:
    """Return the reason why nginx rejects a configuration, None if it accepts it."""
    tried = subprocess.run(  # noqa: S603
        ["nginx", "-t", "-q", "-c", str(configuration), "-e", "stderr"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return f"nginx rejects it: {tried.stderr.strip()}" if tried.returncode else None


def nginx_workers(master: int) -> dict[int, bool]:
    """Return the worker processes of an nginx.

    Args:
        master: the process id of its master process.

    Returns:
        By process id, whether a worker accepts new requests; one that is shutting down does not.
    """
    found = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            # The name may contain spaces; the state and the parent follow it.
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            title = (process / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended
        if int(parent) == master and state != "Z":
            found[int(process.name)] = _STOPPING_WORKER not in title
    return found
