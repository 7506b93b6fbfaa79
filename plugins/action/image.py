"""Send an image archive to a host only if the host does not have the image."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.atoll.registry.plugins.module_utils.archive import (
    ArchiveError,
    archive_reference,
)


class ActionModule(ActionBase):
    """Read the digest on the controller, query the host, transfer the archive and load it."""

    TRANSFERS_FILES = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Any:
        """Ensure the image of the task's arguments is present or absent."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        archive = arguments.pop("archive", None)
        if not archive:
            result.update(self._module(arguments, task_vars))
            return result
        archive = os.path.abspath(os.path.expanduser(archive))
        try:
            arguments["reference"] = archive_reference(archive)
        except ArchiveError as error:
            raise AnsibleActionFail(str(error)) from error

        answer = self._module(arguments | {"probe": True}, task_vars)
        if answer.get("failed") or not answer.get("changed") or self._task.check_mode:
            result.update(answer)
            return result
        try:
            sent = self._send(archive)
            result.update(self._module(arguments | {"archive": sent}, task_vars))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> Any:
        return self._execute_module(
            module_name="atoll.registry.image", module_args=arguments, task_vars=task_vars
        )

    def _send(self, archive: str) -> Any:
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        shell = self._connection._shell
        sent = self._transfer_file(archive, shell.join_path(shell.tmpdir, "image.tar"))
        self._fixup_perms2((shell.tmpdir, sent))
        return sent
