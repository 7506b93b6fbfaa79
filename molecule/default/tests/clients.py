"""podman, skopeo and oras as users run them, with separate files for trust and login."""

import base64
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import images
from commands import PODMAN, run
from definition import Lab


class Clients:
    """Clients that trust the lab's CA certificate, or another one, and are logged in."""

    def __init__(
        self,
        lab: Lab,
        user: str,
        password: str,
        folder: Path,
        *,
        registry: str | None = None,
        certificate_authority: Path | None = None,
    ) -> None:
        self.folder = folder
        self.user = user
        self.password = password
        # The name or the address that the clients connect to.
        self.registry = registry or lab.registry_hostname
        self._network = lab.name
        self._trust = folder / "trust"
        self._trust.mkdir()
        shutil.copy(certificate_authority or lab.certificate_authority, self._trust / "ca.crt")
        self._login = folder / "auth.json"
        login = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        hosts = [machine.address for site in lab.sites for machine in site.machines]
        names = (lab.registry_hostname, self.registry, *hosts)
        self._login.touch(mode=0o600)
        self._login.write_text(json.dumps({"auths": dict.fromkeys(names, login)}))

    def podman_push(self, image: str, name: str) -> str:
        digest = self.folder / "digest"
        trust = (f"--authfile={self._login}", f"--cert-dir={self._trust}")
        target = f"docker://{self.registry}/{name}"
        run([*PODMAN, "push", "--quiet", *trust, f"--digestfile={digest}", image, target])
        return digest.read_text().strip()

    @property
    def skopeo_copy(self) -> list[str]:
        """The command of skopeo that copies with trust and login for source and destination."""
        return ["skopeo", "copy", "--quiet", *self.skopeo_trust("src"), *self.skopeo_trust("dest")]

    def skopeo_trust(self, end: str) -> list[str]:
        """Return the options of skopeo for trust and login at one end, `src` or `dest`."""
        return [f"--{end}-authfile={self._login}", f"--{end}-cert-dir={self._trust}"]

    def skopeo_tags(self, host: str, name: str) -> list[str]:
        """Return the tags of a repository."""
        trust = (f"--authfile={self._login}", f"--cert-dir={self._trust}")
        listed = json.loads(run(["skopeo", "list-tags", *trust, f"docker://{host}/{name}"]))
        return sorted(listed["Tags"])

    def skopeo_push(self, source: str, name: str) -> str:
        digest = self.folder / "digest"
        run(
            [
                "skopeo",
                "copy",
                "--quiet",
                f"--dest-authfile={self._login}",
                f"--dest-cert-dir={self._trust}",
                f"--digestfile={digest}",
                source,
                f"docker://{self.registry}/{name}",
            ]
        )
        return digest.read_text().strip()

    def skopeo_pull(self, host: str, reference: str) -> str:
        """Pull to a temporary directory, and return the digest. skopeo verifies all digests."""
        digest = self.folder / "digest"
        target = self.folder / "pulled"
        shutil.rmtree(target, ignore_errors=True)
        run(
            [
                "skopeo",
                "copy",
                "--quiet",
                f"--src-authfile={self._login}",
                f"--src-cert-dir={self._trust}",
                f"--digestfile={digest}",
                f"docker://{host}/{reference}",
                f"dir:{target}",
            ]
        )
        return digest.read_text().strip()

    def skopeo_manifest(self, host: str, reference: str) -> str:
        trust = (f"--authfile={self._login}", f"--cert-dir={self._trust}")
        return run(["skopeo", "inspect", "--raw", *trust, f"docker://{host}/{reference}"])

    def oras(self, verb: str, *words: str) -> str:
        """Run oras of Debian 13, in a container because the host may be older."""
        trust = ("--ca-file", str(self._trust / "ca.crt"), "--registry-config", str(self._login))
        inside = ("--network=host", f"--volume={self.folder}:{self.folder}")
        where = f"--workdir={self.folder}"
        image = images.CLIENTS.tag
        return run([*PODMAN, "run", "--rm", *inside, where, image, "oras", verb, *trust, *words])

    def cosign(self, verb: str, *words: str) -> str:
        """Run cosign of Debian 13, with keys in the folder of the clients."""
        # It reads the login of Docker.
        docker = self.folder / "docker"
        docker.mkdir(exist_ok=True)
        shutil.copy(self._login, docker / "config.json")
        options = ("--rm", "--network=host", f"--volume={self.folder}:{self.folder}")
        trust = (f"--env=DOCKER_CONFIG={docker}", f"--env=SSL_CERT_FILE={self._trust}/ca.crt")
        where = (
            f"--workdir={self.folder}",
            "--env=COSIGN_PASSWORD=",
            "--env=COSIGN_EXPERIMENTAL=0",
        )
        image = images.ENGINES.tag
        return run([*PODMAN, "run", *options, *trust, *where, image, "cosign", verb, *words])

    def partial_pull(self, name: str) -> str:
        """Push two versions of a zstd:chunked image, pull both, and return the output.

        podman of Debian 13 runs in its own network namespace, where the received bytes are counted.
        The hostname of the registry is the load balancer's address.
        """
        trust = (f"--volume={self._trust}:/trust:ro", "--env=SSL_CERT_FILE=/trust/ca.crt")
        login = (f"--volume={self._login}:/auth.json:ro", "--env=REGISTRY_AUTH_FILE=/auth.json")
        words = ("partial-pull", f"{self.registry}/{name}")
        options = ("--rm", "--privileged", f"--network={self._network}", *trust, *login)
        return run([*PODMAN, "run", *options, images.CLIENTS.tag, *words])

    def login_with(self, password: str) -> "subprocess.CompletedProcess[str]":
        """Try to log in with a separate login file."""
        nowhere = self.folder / "other.json"
        words = ("login", f"--authfile={nowhere}", f"--cert-dir={self._trust}")
        return subprocess.run(
            [*PODMAN, *words, f"--username={self.user}", "--password-stdin", self.registry],
            input=password,
            capture_output=True,
            text=True,
            check=False,
        )

    def podman_pull(self, reference: str) -> str:
        """Pull to a temporary storage, so that the host's storage is not changed."""
        with tempfile.TemporaryDirectory(prefix="atoll-") as storage:
            return self._podman_pull_to(storage, reference)

    def _podman_pull_to(self, storage: str, reference: str) -> str:
        own = (f"--root={storage}/root", f"--runroot={storage}/run", "--storage-driver=vfs")
        trust = (f"--authfile={self._login}", f"--cert-dir={self._trust}")
        target = f"{self.registry}/{reference}"
        run([*PODMAN, *own, "pull", "--quiet", *trust, target])
        return run([*PODMAN, *own, "image", "inspect", "--format={{.Digest}}", target]).strip()
