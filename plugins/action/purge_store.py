"""Show the progress of a task that deletes the objects of a location."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

OBJECTS_AT_ONCE = 10_000
display = Display()


class ActionModule(ActionBase):
    """Run the module repeatedly with a limit, and show each result."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Any:
        """Delete all objects, or at most the number of the task's limit."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if self._task.check_mode or arguments.get("limit") is not None:
            result.update(self._module(arguments, task_vars))
            return result
        result.update(self._purge(arguments, task_vars))
        return result

    def _purge(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> Any:
        done: dict[str, Any] = {"changed": False, "objects": 0, "bytes": 0, "uploads": 0}
        while True:
            answer = self._module(arguments | {"limit": OBJECTS_AT_ONCE}, task_vars)
            if answer.get("failed"):
                return answer | {"changed": done["changed"]}
            done = {key: had + answer[key] for key, had in done.items()}
            done["changed"] = bool(done["changed"])
            if answer["complete"]:
                return answer | done
            display.display(
                f"{arguments['location']}: deleted {done['objects']} objects"
                f" ({done['bytes']} bytes)"
            )

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> Any:
        return self._execute_module(
            module_name="atoll.registry.purge_store", module_args=arguments, task_vars=task_vars
        )
