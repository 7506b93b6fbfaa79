"""The entry point of `atoll COMMAND`, for containers and operators."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from atoll.cli.container_processes import find_process, run_process

if TYPE_CHECKING:
    from atoll.cli.context import CommandContext


def main(arguments: Sequence[str] | None = None, context: CommandContext | None = None) -> int:
    """Run a command and return its exit code, see `atoll.exit_codes`.

    Args:
        arguments: the words after `atoll`; those of this process by default.
        context: loads what commands work with; from this container by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # `podman run IMAGE atoll status` and `podman run IMAGE status` are the same.
    if words[:1] == ["atoll"]:
        words = words[1:]
    # podman runs it every few seconds: importing click would take longer than the check.
    if words[:1] == ["healthcheck"] and set(words[1:]) <= {"--alive"}:
        return _run_healthcheck(alive="--alive" in words)
    if (process := find_process(words)) is not None and context is None:
        return run_process(process)
    from atoll.cli.root import atoll  # noqa: PLC0415
    from atoll.cli.runner import run  # noqa: PLC0415

    return run(atoll, words, name="atoll", context=context)


def _run_healthcheck(*, alive: bool) -> int:
    from atoll.errors import UserError  # noqa: PLC0415
    from atoll.server.healthcheck import healthcheck  # noqa: PLC0415

    try:
        healthcheck(alive=alive)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
