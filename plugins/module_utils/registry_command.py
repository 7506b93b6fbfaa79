"""Run the atoll command in the registry's container, and return its output."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.podman_service import (
    PodmanUnavailable,
    podman_client,
)


class CommandError(Exception):
    """The command failed; the message names the cause."""


def run_atoll(module: AnsibleModule, container: str, *words: str, given: str | None = None) -> str:
    """Return the standard output of a command.

    Args:
        module: The running module.
        container: Name of the registry's container.
        words: The command, without the program.
        given: Text for the standard input.

    Raises:
        CommandError: The exit status is not 0, or the command could not be started.
    """
    code, output, error = _run(module, container, words, given)
    if code:
        raise CommandError(_reason(container, words, code, output + error))
    return output


def read_atoll(
    module: AnsibleModule,
    container: str,
    *words: str,
    accepted: Collection[int] = (0,),
    given: str | None = None,
) -> Any:
    """Return the JSON output of a command.

    Args:
        module: The running module.
        container: Name of the registry's container.
        words: The command, without the program and without --json.
        accepted: The exit statuses that are no failure.
        given: Text for the standard input.

    Raises:
        CommandError: The exit status is not accepted, the output is no JSON, or the command could
            not be started.
    """
    code, output, error = _run(module, container, (*words, "--json"), given)
    try:
        if code in accepted:
            return json.loads(output)
    except ValueError:
        pass
    raise CommandError(_reason(container, words, code, output + error))


def read_atoll_from_host(
    module: AnsibleModule, container: str, *words: str, given: str = ""
) -> Any:
    """Return the JSON output of a command that connects to addresses as the host does.

    It runs in a new container in the network of the host: on a host with br_netfilter, the
    registry's container cannot connect to its own published port. The new container has the image,
    the user, the settings and the bundle of the other one, and no privileges.

    Args:
        module: The running module.
        container: Name of the registry's container.
        words: The command, without the program and without --json.
        given: Text for the standard input.

    Raises:
        CommandError: The container is not running, or the command failed or printed no JSON.
    """
    command = ["podman", "inspect", "--type=container", container]
    code, output, error = module.run_command(command)
    if code:
        raise CommandError(_reason(container, words, code, output + error))
    start = _start_beside(json.loads(output)[0])
    code, output, error = module.run_command([*start, "atoll", *words, "--json"], data=given)
    try:
        if not code:
            return json.loads(output)
    except ValueError:
        pass
    raise CommandError(_reason(container, words, code, output + error))


def _start_beside(found: dict[str, Any]) -> list[str]:
    """Return the command that starts a container like a running one, up to the image."""
    configuration = found["Config"]
    settings = [
        f"--env={setting}"
        for setting in configuration["Env"]
        if setting.startswith(("QUAY_", "ATOLL_"))
    ]
    bundles = [
        f"--volume={mount['Source']}:{mount['Destination']}:ro"
        for mount in found["Mounts"]
        if mount["Destination"] == "/conf/stack"
    ]
    return [
        *("podman", "run", "--rm", "--interactive", "--pull=never", "--network=host"),
        *("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"),
        f"--user={configuration['User']}",
        *settings,
        *bundles,
        found["Image"],
    ]


def _run(
    module: AnsibleModule, container: str, words: Sequence[str], given: str | None
) -> tuple[int, str, str]:
    if given is None:
        try:
            return exec_in_container(module, container, ["atoll", *words])
        except PodmanUnavailable as error:
            raise CommandError(str(error)) from error
    # podman-py cannot write to the standard input of a command.
    command = ["podman", "exec", "--interactive", container, "atoll", *words]
    code, output, error_output = module.run_command(command, data=given)
    return code, output, error_output


def exec_in_container(
    module: AnsibleModule, container: str, words: Sequence[str]
) -> tuple[int, str, str]:
    """Run a command in a running container.

    Returns:
        The exit status, which is 125 if the command could not be started, as that of podman; the
        standard output; and the standard error.

    Raises:
        PodmanUnavailable: There is no usable podman on the host.
    """
    podman = podman_client(module)
    try:
        found = podman.containers.get(container)
        code, (output, error) = found.exec_run(words, demux=True)
    # podman-py's exceptions for error responses of podman are subclasses.
    except OSError as refused:
        return 125, "", str(refused)
    return code, (output or b"").decode(), (error or b"").decode()


def image_of(module: AnsibleModule, container: str) -> str:
    """Return the image of a container as its unit names it; empty if there is no container.

    Raises:
        PodmanUnavailable: There is no usable podman on the host.
    """
    podman = podman_client(module)
    try:
        return str(podman.containers.get(container).attrs["ImageName"])
    except OSError:
        return ""


def _reason(container: str, words: Sequence[str], code: int, printed: str) -> str:
    lines = [line for line in printed.splitlines() if line.strip()]
    if "no such container" in printed or "can only create exec sessions on running" in printed:
        return (
            f"the container {container} is not running on this host. "
            f"Inspect `systemctl status {container}.service`, and deploy the site again with "
            "playbooks/site.yml."
        )
    last = lines[-1] if lines else "no output"
    return f"atoll {' '.join(words)} failed with exit status {code}: {last}"
