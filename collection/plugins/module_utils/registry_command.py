"""Run the registry's administrative commands in its container, and answer as data."""

from __future__ import annotations

import json


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
        return module.run_command(["podman", "exec", container, "atoll", *words])
    command = ["podman", "exec", "--interactive", container, "atoll", *words]
    return module.run_command(command, data=given)


def _reason(container, words, code, said):
    lines = [line for line in said.splitlines() if line.strip()]
    if "no such container" in said or "can only create exec sessions on running" in said:
        return (
            f"the container {container} does not run on this host. "
            f"Look at `systemctl status {container}.service`, and roll the site out again with "
            "playbooks/site.yml."
        )
    return f"atoll {' '.join(words)} ended with {code}: {lines[-1] if lines else 'it said nothing'}"
