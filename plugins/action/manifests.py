"""Render the manifests of sites on Kubernetes clusters, after all sites were checked."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.checks import (
    manifest_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.clusters import Clusters
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.documents import Document
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.site import REGISTRY
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.tree import render
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import Roles
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.report import (
    accept,
    count,
    summary,
    table,
)

display = Display()


class ActionModule(ActionBase):
    """Check all sites, or write the files of one."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Any:
        """Return the problems after showing them, or the files that changed."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        _valid, arguments = self.validate_argument_spec(
            {
                "directory": {"type": "path", "required": True},
                "state": {"type": "str", "choices": ["checked", "present"], "default": "present"},
                "stopped": {"type": "bool", "default": False},
                "accept": {"type": "list", "elements": "str", "default": []},
            }
        )
        roles = Roles(self._loader, _roles())
        clusters = Clusters(variables["hostvars"], variables["groups"], roles)
        directory = Path(arguments["directory"]).absolute()
        if arguments["state"] == "checked":
            return {**result, **_check(clusters, directory, set(arguments["accept"]))}
        host = str(variables["inventory_hostname"])
        if host not in clusters.hosts:
            raise AnsibleError(f"{host} is not in the group atoll_kubernetes.")
        site = clusters.site(host, stopped=arguments["stopped"])
        written: dict[str, Any] = self._execute_module(
            module_name="atoll.registry.files",
            module_args=_files(directory / site.name, render(site)),
            task_vars=variables,
        )
        return {
            **result,
            **written,
            "directory": str(directory / site.name),
            "namespace": site.namespace,
            "deployment": site.resource(REGISTRY),
        }


def _check(clusters: Clusters, directory: Path, accepted: set[str]) -> dict[str, Any]:
    problems = accept(manifest_problems(clusters, directory), accepted)
    if problems:
        lines = table(problems, clusters.hosts, display.columns)
        display.display("\n".join(["", *lines, ""]))
    sentence = summary(problems, len(clusters.hosts))
    errors = count(problems, "error")
    return {
        "changed": False,
        "error_count": errors,
        "warning_count": count(problems, "warning"),
        "summary": sentence,
        "problems": problems,
    }


def _files(directory: Path, documents: list[Document]) -> dict[str, Any]:
    """Return the options of the module that writes files, which only this user can read."""
    owner = {"owner": _name(pwd.getpwuid, os.geteuid()), "group": _name(grp.getgrgid, os.getegid())}
    # The modes of existing directories above that of the site are not ours to change.
    missing = [path for path in reversed(directory.parents) if not path.exists()]
    folders = sorted({(directory / document.path).parent for document in documents})
    return {
        "directories": [
            {"path": str(path), "mode": "0700", **owner} for path in [*missing, *folders]
        ],
        "files": [
            {
                "path": str(directory / document.path),
                "secret" if document.is_secret else "content": document.text,
                "mode": "0600",
                **owner,
            }
            for document in documents
        ],
        "exclusive": [str(directory)],
    }


def _name(find: Any, number: int) -> str:
    """Return the name of a user or group; the number if it has none, as in some containers."""
    try:
        return str(find(number)[0])
    except KeyError:
        return str(number)


def _roles() -> Path:
    """Return the directory of the collection's roles; plugins/ may be a symbolic link."""
    for folder in Path(__file__).resolve().parents:
        if (folder / "roles").is_dir():
            return folder / "roles"
    raise FileNotFoundError("The collection is incomplete: its roles are missing.")
