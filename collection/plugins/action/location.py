"""Show how far the draining of a location is while the task waits for it."""

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
        if arguments.get("state") != "drained" or self._task.check_mode:
            result.update(self._module(arguments, task_vars))
            return result
        result.update(self._drain(arguments, task_vars))
        return result

    def _drain(self, arguments, task_vars):
        deadline = time.monotonic() + int(arguments.get("timeout", 86400))
        changed, told = False, ""
        while True:
            answer = self._module(arguments | {"state": "drained", "timeout": 0}, task_vars)
            changed = changed or bool(answer.get("changed"))
            if "remaining" not in answer or not answer.get("failed"):
                return answer | {"changed": changed}
            if time.monotonic() >= deadline:
                return answer | {"changed": changed}
            told = self._show(answer, told)
            time.sleep(PAUSE_SECONDS)

    @staticmethod
    def _show(answer, told):
        location = answer["location"]
        line = (
            f"{location['location']}: {location['only_there']} blobs "
            f"({location['only_there_bytes']} bytes) are only there, "
            f"{location['open_uploads']} uploads have bytes there"
        )
        if line != told:
            display.display(line)
        return line

    def _module(self, arguments, task_vars):
        return self._execute_module(
            module_name="atoll.registry.location", module_args=arguments, task_vars=task_vars
        )
