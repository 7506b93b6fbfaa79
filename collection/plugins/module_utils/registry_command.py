"""Run the registry's administrative commands in its container, and answer as data."""

from __future__ import annotations

import json

from ansible_collections.atoll.registry.plugins.module_utils.podman_service import (
    PodmanAway,
    podman_client,
)


class CommandError(Exception):
    """The command did not do what it was asked to; the message says why."""


def run_atoll(module, container, *words, given=None):
    """Return what a command of the registry printed, with GIVEN to read. Raises CommandError."""
    code, output, error = _run(module, container, words, given)
    if code:
        raise CommandError(_reason(container, words, code, output + error))
    return output


def read_atoll(module, container, *words, accepted=(0,), given=None):
    """Return what a command of the registry printed as JSON, with GIVEN to read.

    Raises CommandError, also where the exit status is not an accepted one.
    """
    code, output, error = _run(module, container, (*words, "--json"), given)
    try:
        if code in accepted:
            return json.loads(output)
    except ValueError:
        pass
    raise CommandError(_reason(container, words, code, output + error))


def _run(module, container, words, given):
    if given is None:
        try:
            return exec_in_container(module, container, ["atoll", *words])
        except PodmanAway as error:
            raise CommandError(str(error)) from error
    # podman-py has no way to give a command something to read.
    command = ["podman", "exec", "--interactive", container, "atoll", *words]
    return module.run_command(command, data=given)


def exec_in_container(module, container, words):
    """Return the exit status of a command in a running container, and what it printed on each side.

    The status is 125 where it could not be started, as podman's own is. Raises PodmanAway.
    """
    with podman_client(module) as podman:
        try:
            found = podman.containers.get(container)
            code, (output, error) = found.exec_run(words, demux=True)
        # All errors of podman-py that are answers of podman are among these.
        except OSError as refused:
            return 125, "", str(refused)
    return code, (output or b"").decode(), (error or b"").decode()


def _reason(container, words, code, said):
    lines = [line for line in said.splitlines() if line.strip()]
    if "no such container" in said or "can only create exec sessions on running" in said:
        return (
            f"the container {container} does not run on this host. "
            f"Look at `systemctl status {container}.service`, and roll the site out again with "
            "playbooks/site.yml."
        )
    return f"atoll {' '.join(words)} ended with {code}: {lines[-1] if lines else 'it said nothing'}"
