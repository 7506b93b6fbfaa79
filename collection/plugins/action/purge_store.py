"""Show how far the emptying of a store is while the task goes on."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

OBJECTS_AT_ONCE = 10_000
display = Display()


class ActionModule(ActionBase):
    """Let the module delete some objects again and again, so that each answer can be shown."""

    def run(self, tmp=None, task_vars=None):
        """Delete all objects, or as many as the task says."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if self._task.check_mode or arguments.get("limit") is not None:
            result.update(self._module(arguments, task_vars))
            return result
        result.update(self._purge(arguments, task_vars))
        return result

    def _purge(self, arguments, task_vars):
        done = {"changed": False, "objects": 0, "bytes": 0, "uploads": 0}
        while True:
            answer = self._module(arguments | {"limit": OBJECTS_AT_ONCE}, task_vars)
            if answer.get("failed"):
                return answer | {"changed": done["changed"]}
            done = {key: had + answer[key] for key, had in done.items()}
            done["changed"] = bool(done["changed"])
            if answer["complete"]:
                return answer | done
            display.display(
                f"{arguments['location']}: {done['objects']} objects ({done['bytes']} bytes) "
                "are deleted"
            )

    def _module(self, arguments, task_vars):
        return self._execute_module(
            module_name="atoll.registry.purge_store", module_args=arguments, task_vars=task_vars
        )
