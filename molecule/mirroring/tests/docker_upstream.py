"""Debian's docker-registry on this host, as an upstream of the machines."""

import ipaddress
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from certificates import Authority
from clients import Clients
from commands import wait_until
from definition import Lab

# A name that no host of the registry resolves.
NAME = "upstream.example"
USERNAME, PASSWORD = "mirror", "sesame"
# The registry accepts bcrypt only.
_HASH = "$2b$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O"
_REQUEST = re.compile(r'"([A-Z]+) (/v2/\S*) HTTP/[0-9.]+" (\d+)')


class DockerUpstream:
    """A registry with TLS by a private CA and Basic authentication, and its access log."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        # The address of this host in the network of the machines.
        self.host = str(next(ipaddress.ip_network(lab.subnet).hosts()))
        with socket.create_server((self.host, 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"{self.host}:{self.port}"
        self.certificate_authority = folder / "ca.crt"
        self._certificate = folder / "registry.crt"
        Authority(self.certificate_authority, "upstream").certify(
            self._certificate, [self.host, NAME]
        )
        self._folder = folder
        self._log = folder / "log"
        own = folder / "clients"
        own.mkdir()
        self.clients = Clients(
            lab,
            USERNAME,
            PASSWORD,
            own,
            registry=self.address,
            certificate_authority=self.certificate_authority,
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the registry while the context is active."""
        (self._folder / "htpasswd").write_text(f"{USERNAME}:{_HASH}\n")
        tls = {"certificate": self._certificate, "key": self._certificate.with_suffix(".key")}
        configuration = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(self._folder / "blobs")}},
            "auth": {"htpasswd": {"realm": "tests", "path": str(self._folder / "htpasswd")}},
            "http": {
                "addr": self.address,
                "secret": "x",
                "tls": {name: str(path) for name, path in tls.items()},
            },
        }
        # JSON is YAML.
        file = self._folder / "config.yml"
        file.write_text(json.dumps(configuration))
        with self._log.open("w") as log:
            words = ["docker-registry", "serve", str(file)]
            process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)
            try:
                wait_until("the upstream accepts connections", lambda: self._accepts(process))
                yield
            finally:
                process.kill()
                process.wait()

    def requests(self) -> list[tuple[str, str, int]]:
        """Return the methods, the paths and the statuses of all requests."""
        found = _REQUEST.findall(self._log.read_text())
        return [(method, path, int(status)) for method, path, status in found]

    def mirror(self, name: str, source: str, *, host: str | None = None) -> dict[str, object]:
        """Return an entry of registry_mirrors that runs on request only."""
        return {
            "name": name,
            "external_reference": f"{host or self.host}:{self.port}/{source}",
            "external_registry_username": USERNAME,
            "external_registry_password": PASSWORD,
            "ca_certificate": self.certificate_authority.read_text(),
            "robot": "mirror",
            "sync_interval": 0,
        }

    def _accepts(self, process: "subprocess.Popen[bytes]") -> bool:
        assert process.poll() is None, f"docker-registry ended:\n{self._log.read_text()}"
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0
