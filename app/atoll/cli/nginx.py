"""The configuration of the nginx in front."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2

from atoll.cli.runtime import LEAVING_FILE
from atoll.cli.tls import Certificate, redirects_to_tls
from atoll.config import Bundle

_PORT = re.compile(r":\d{1,5}$")


def write_nginx_configuration(
    runtime: Path,
    bundle: Bundle,
    certificate: Certificate | None,
    sockets: list[Path],
    operations: list[Path],
) -> Path:
    """Write nginx' configuration to RUNTIME and return its path.

    SOCKETS serve the registry, OPERATIONS the health and the metrics of the same processes.
    """
    port = _PORT.search(bundle.server_hostname)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("atoll.cli", "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - it is no HTML
    )
    text = environment.get_template("nginx.conf.j2").render(
        runtime=runtime,
        leaving=runtime / LEAVING_FILE,
        sockets=sockets,
        operations=operations,
        maximum_size=bundle.maximum_layer_size,
        certificate=certificate,
        redirect=redirects_to_tls(bundle, certificate),
        # Clients find TLS at the port that SERVER_HOSTNAME has, which is 443 unless it names one.
        tls_port=port.group() if port else "",
    )
    target = runtime / "nginx.conf"
    target.write_text(text)
    return target
