"""Demonstrate replication with real clients: push in one region, pull in the other."""

import base64
import http.client
import json
import secrets
import shutil
import ssl
from http import HTTPStatus
from pathlib import Path

import images
from commands import podman, run
from definition import Lab, Site
from errors import LabError
from progress import Step

USER = "demo"
REPOSITORY = f"{USER}/nginx"
_TAG = "1"
_LAYERS = 3
_REPLICATION_SECONDS = 300


class Demonstration:
    """A user, a repository and an image, which are the same in each run."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._folder = lab.state / "demonstration"
        self._folder.mkdir(exist_ok=True)
        self._password = _secret(lab.state / "secrets/demonstration_password")
        self._digest = self._folder / "digest"
        self._credentials = self._folder / "auth.json"
        self._trust = self._folder / "trust"

    def prepare(self, step: Step) -> None:
        """Create the user and the repository unless the user can log in already."""
        self._write_client_files()
        if _can_log_in(self._lab, self._password):
            step.show("already exist")
            return
        create = ("user", "create", USER, "--email", f"{USER}@{self._lab.registry_hostname}")
        self._atoll(*create, "--password-stdin", given=self._password)
        self._atoll("repository", "create", REPOSITORY, "--visibility", "private")

    def push(self, step: Step) -> None:
        """Push the image through the load balancer unless it was pushed before."""
        if self._digest.exists() and self._is_pushed():
            step.show("already pushed")
            return
        target = f"docker://{self._lab.registry_hostname}/{REPOSITORY}:{_TAG}"
        client = (f"--authfile={self._credentials}", f"--cert-dir={self._trust}")
        written = self._digest.with_suffix(".new")
        podman(
            "push", "--quiet", *client, f"--digestfile={written}", images.DEMONSTRATION.tag, target
        )
        written.replace(self._digest)

    def wait(self) -> None:
        """Wait until all blobs are replicated."""
        self._atoll("replication", "wait", "--timeout", str(_REPLICATION_SECONDS))

    def pull(self) -> str:
        """Pull the image from the last site, and return its digest.

        Raises:
            LabError: The digest differs from that of the pushed image.
        """
        pushed = self._digest.read_text().strip()
        target = self._folder / "pulled"
        shutil.rmtree(target, ignore_errors=True)
        site = self._lab.sites[-1].machine.address
        copied = self._folder / "pulled.digest"
        run(
            [
                "skopeo",
                "copy",
                "--quiet",
                f"--src-authfile={self._credentials}",
                f"--src-cert-dir={self._trust}",
                f"--digestfile={copied}",
                f"docker://{site}/{REPOSITORY}:{_TAG}",
                f"dir:{target}",
            ]
        )
        pulled = copied.read_text().strip()
        layers = json.loads((target / "manifest.json").read_text())["layers"]
        shutil.rmtree(target)
        if pulled != pushed or len(layers) < _LAYERS:
            raise LabError(f"pulled {pulled} with {len(layers)} layers, but pushed {pushed}")
        return pulled

    def _is_pushed(self) -> bool:
        reference = f"{self._lab.registry_hostname}/{REPOSITORY}@{self._digest.read_text().strip()}"
        try:
            run(
                [
                    "skopeo",
                    "inspect",
                    "--raw",
                    f"--authfile={self._credentials}",
                    f"--cert-dir={self._trust}",
                    f"docker://{reference}",
                ]
            )
        except LabError:
            return False
        return True

    # Run the command in the container of a site over SSH, as an operator does.
    def _atoll(self, *words: str, given: str | None = None) -> None:
        inside = ["sudo", "podman", "exec", "--interactive", "atoll-registry", "atoll", *words]
        run([*self._lab.ssh(self._site.machine), *inside], given=given)

    @property
    def _site(self) -> Site:
        return self._lab.sites[0]

    # The clients use only these files for trust and login, so that the configuration of the host is
    # not changed.
    def _write_client_files(self) -> None:
        self._trust.mkdir(exist_ok=True)
        shutil.copy(self._lab.certificate_authority, self._trust / "ca.crt")
        login = {"auth": _basic(self._password)}
        registries = (self._lab.registry_hostname, *(s.machine.address for s in self._lab.sites))
        self._credentials.touch(mode=0o600)
        self._credentials.write_text(json.dumps({"auths": dict.fromkeys(registries, login)}))


def _secret(file: Path) -> str:
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24))
    return file.read_text()


def _basic(password: str) -> str:
    return base64.b64encode(f"{USER}:{password}".encode()).decode()


def _can_log_in(lab: Lab, password: str) -> bool:
    host = lab.registry_hostname
    trust = ssl.create_default_context(cafile=str(lab.certificate_authority))
    connection = http.client.HTTPSConnection(host, timeout=30, context=trust)
    try:
        connection.request(
            "GET",
            f"/v2/auth?service={host}",
            headers={"Authorization": f"Basic {_basic(password)}"},
        )
        status = connection.getresponse().status
    except OSError as problem:
        raise LabError(f"https://{host} does not respond: {problem}") from problem
    finally:
        connection.close()
    if status not in (HTTPStatus.OK, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise LabError(f"a login at https://{host} failed with status {status}")
    return status == HTTPStatus.OK
