"""Show the progress of a location while a task waits for it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

FIRST_PAUSE_SECONDS = 5
LONGEST_PAUSE_SECONDS = 60
display = Display()


class ActionModule(ActionBase):
    """Run the module repeatedly, for longer and longer, and show each result."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Any:
        """Bring the location to the state of the task's arguments."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if arguments.get("state") not in _LINES or self._task.check_mode:
            result.update(self._module(arguments, task_vars))
            return result
        result.update(self._wait(arguments, task_vars))
        return result

    def _wait(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> Any:
        deadline = time.monotonic() + int(arguments.get("timeout", 86400))
        describe = _LINES[arguments["state"]]
        changed, shown = False, ""
        # The module waits with one connection to podman, so few long runs cost less than many.
        pause = 0
        while True:
            left = max(0, math.ceil(deadline - time.monotonic()))
            answer = self._module(arguments | {"report_after": min(pause, left)}, task_vars)
            changed = changed or bool(answer.get("changed"))
            waiting = "remaining" in answer and answer.get("failed")
            if not waiting or time.monotonic() >= deadline:
                return answer | {"changed": changed}
            line = describe(arguments["name"], answer)
            if line != shown:
                display.display(line)
                shown = line
            if "last" in answer:
                # Do not wait for blobs that are pushed meanwhile.
                arguments["until"] = answer["last"]
            pause = min(max(FIRST_PAUSE_SECONDS, 2 * pause), LONGEST_PAUSE_SECONDS)

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> Any:
        return self._execute_module(
            module_name="atoll.registry.location", module_args=arguments, task_vars=task_vars
        )


def _drained(name: str, answer: dict[str, Any]) -> str:
    location = answer["location"]
    return (
        f"{name}: sole copies of {location['only_there']} blobs"
        f" ({location['only_there_bytes']} bytes) and data of {location['open_uploads']} uploads"
        " remain"
    )


def _complete(name: str, answer: dict[str, Any]) -> str:
    return (
        f"{name}: {answer['remaining']} blobs ({answer['missing_bytes']} bytes) remain to be copied"
    )


_LINES: dict[str, Callable[[str, dict[str, Any]], str]] = {
    "drained": _drained,
    "complete": _complete,
}
