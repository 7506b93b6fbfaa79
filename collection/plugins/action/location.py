"""Show how far a location is while the task waits for it."""

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

PAUSE_SECONDS = 5
display = Display()


class ActionModule(ActionBase):
    """Ask the module again and again, so that each answer can be shown."""

    def run(self, tmp=None, task_vars=None):
        """Bring the location to the state that the task names."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if arguments.get("state") not in _LINES or self._task.check_mode:
            result.update(self._module(arguments, task_vars))
            return result
        result.update(self._wait(arguments, task_vars))
        return result

    def _wait(self, arguments, task_vars):
        deadline = time.monotonic() + int(arguments.get("timeout", 86400))
        arguments = arguments | {"timeout": 0}
        describe = _LINES[arguments["state"]]
        changed, told = False, ""
        while True:
            answer = self._module(arguments, task_vars)
            changed = changed or bool(answer.get("changed"))
            waiting = "remaining" in answer and answer.get("failed")
            if not waiting or time.monotonic() >= deadline:
                return answer | {"changed": changed}
            line = describe(arguments["name"], answer)
            if line != told:
                display.display(line)
                told = line
            if "last" in answer:
                # What comes while it waits is not waited for.
                arguments["until"] = answer["last"]
            time.sleep(PAUSE_SECONDS)

    def _module(self, arguments, task_vars):
        return self._execute_module(
            module_name="atoll.registry.location", module_args=arguments, task_vars=task_vars
        )


def _drained(name, answer):
    location = answer["location"]
    return (
        f"{name}: {location['only_there']} blobs ({location['only_there_bytes']} bytes) are only "
        f"there, {location['open_uploads']} uploads have bytes there"
    )


def _complete(name, answer):
    return (
        f"{name}: {answer['remaining']} blobs ({answer['missing_bytes']} bytes) are not there yet"
    )


_LINES = {"drained": _drained, "complete": _complete}
