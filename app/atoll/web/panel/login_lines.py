"""Commands that log clients in to the registry, and the Secret with which Kubernetes pulls."""

from __future__ import annotations

import base64
import json
import re
import shlex
from typing import Any

# The limit of names of Kubernetes.
_NAME_LENGTH = 253
_SUFFIX = "-pull-secret"


class LoginLines:
    """Writes the commands for one registry."""

    def __init__(self, registry: str) -> None:
        """Make a writer of commands.

        Args:
            registry: The host of the registry, with its port unless that is the default.
        """
        self._registry = registry

    def shown(self, username: str, token: str) -> dict[str, Any]:
        """Return the variables of `credentials.html.j2`.

        Args:
            username: The user name that clients give, such as `NAMESPACE+ROBOT` or `$app`.
            token: The token, which is their password.
        """
        return {
            "username": username,
            "token": token,
            "logins": [
                ("podman", self._piped("podman login", username, token)),
                ("docker", self._piped("docker login", username, token)),
                ("helm", self._piped("helm registry login", username, token)),
            ],
            "pull_secret": self._pull_secret(username, token),
        }

    def _piped(self, command: str, username: str, token: str) -> str:
        """Return a command that gets the token by standard input, which `ps` does not show."""
        user, registry = shlex.quote(username), shlex.quote(self._registry)
        return f"echo {shlex.quote(token)} | {command} -u {user} --password-stdin {registry}"

    def _pull_secret(self, username: str, token: str) -> str:
        """Return a Secret of Kubernetes in YAML."""
        auth = base64.b64encode(f"{username}:{token}".encode()).decode()
        login = {"username": username, "password": token, "auth": auth}
        config = json.dumps({"auths": {self._registry: login}}).encode()
        return (
            "apiVersion: v1\n"
            "kind: Secret\n"
            "metadata:\n"
            f"  name: {_kubernetes_name(username)}\n"
            "type: kubernetes.io/dockerconfigjson\n"
            "data:\n"
            f"  .dockerconfigjson: {base64.b64encode(config).decode()}\n"
        )


def _kubernetes_name(username: str) -> str:
    """Return a name of lower-case letters, digits and hyphens for the Secret of a user."""
    words = re.sub(r"[^a-z0-9]+", "-", username.lower())[: _NAME_LENGTH - len(_SUFFIX)].strip("-")
    return f"{words or 'registry'}{_SUFFIX}"
