"""The configuration of the nginx in front."""

from __future__ import annotations

from pathlib import Path

import jinja2

from atoll.cli.runtime import bundle_directory


def write_nginx_configuration(
    runtime: Path, sockets: list[Path], operations: list[Path], maximum_size: int
) -> Path:
    """Write nginx' configuration to RUNTIME and return its path.

    SOCKETS serve the registry, OPERATIONS the health and the metrics of the same processes.
    """
    certificate, key = bundle_directory() / "ssl.cert", bundle_directory() / "ssl.key"
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("atoll.cli", "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - it is no HTML
    )
    text = environment.get_template("nginx.conf.j2").render(
        runtime=runtime,
        sockets=sockets,
        operations=operations,
        maximum_size=maximum_size,
        tls=certificate.is_file() and key.is_file(),
        certificate=certificate,
        key=key,
    )
    target = runtime / "nginx.conf"
    target.write_text(text)
    return target
