"""Run a playbook whose roles and modules are replaced by records of their hosts and variables."""

import json
import os
import re
import subprocess

import yaml

LOCAL = {"ansible_connection": "local"}
# Roles, and modules that contact a host or the registry.
ACTIONS = re.compile(r"atoll\.registry\.|ansible\.builtin\.(include_role|import_role)$")
# Files of tasks that read hosts.
LEFT_OUT = re.compile(r"(bundle|compare|confirm|contract|drain|store)\.yml$")


class RecordedPlaybook:
    """A playbook of the collection, run with the local connection.

    Args:
        root: The root of the collection.
        folder: A directory for files of the run.
        variables: The names of variables that are recorded with each role.
        deployed: Whether the files exist on hosts that tasks search for.
    """

    def __init__(self, root, folder, variables=(), deployed=False):
        self.root = root
        self._folder = folder
        self._variables = variables
        self.deployed = deployed
        self.output = ""

    def run(self, name, groups, *words, **variables):
        """Return the exit status and the records, as (host, action, variables), in their order.

        Args:
            name: The name of the playbook.
            groups: The variables of each host, by group.
            words: Further arguments of ansible-playbook.
            variables: Extra variables.
        """
        return self.run_plays(self._plays(name, {}), groups, *words, **variables)

    def run_plays(self, plays, groups, *words, **variables):
        """Return the exit status and the records of plays."""
        children = {group: {"hosts": hosts} for group, hosts in groups.items()}
        # No child of atoll, because no play for machines may connect to these hosts.
        clusters = {name: children.pop(name) for name in ["atoll_kubernetes"] if name in children}
        inventory = self._folder / "inventory.json"
        top = {"atoll": {"children": children}, **clusters}
        inventory.write_text(json.dumps({"all": {"children": top}}))
        templates = self._folder / "templates"
        if not templates.exists():
            templates.symlink_to(self.root / "playbooks/templates")
        play = self._folder / "play.yml"
        text = yaml.safe_dump(plays, width=10_000, sort_keys=False)
        play.write_text(text.replace(": tasks/", f": {self.root}/playbooks/tasks/"))
        done = subprocess.run(
            [
                "ansible-playbook",
                f"--inventory={inventory}",
                str(play),
                *words,
                f"--extra-vars={json.dumps(variables)}",
            ],
            cwd=self.root,
            # Hosts finish a task in the order of the inventory, and join groups in this order.
            env={**os.environ, "ANSIBLE_FORKS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        self.output = " ".join((done.stdout + done.stderr).split())
        found = re.findall(r"record: (\{.*?\}) end", self.output)
        return done.returncode, [tuple(json.loads(one).values()) for one in found]

    def _plays(self, name, variables):
        plays = []
        for play in yaml.safe_load((self.root / f"playbooks/{name}.yml").read_text()):
            imported = play.get("ansible.builtin.import_playbook")
            if imported in ("validate.yml", "preflight.yml"):
                continue
            if imported:
                plays += self._plays(imported.removesuffix(".yml"), play.get("vars", {}))
                continue
            roles = [self._record(f"{role['role']}:main") for role in play.pop("roles", [])]
            tasks = [self._task(task) for task in play.get("tasks", []) if not _left_out(task)]
            changes = {"become": False, "gather_facts": False, "tasks": roles + tasks}
            plays.append(play | changes | {"vars": play.get("vars", {}) | variables})
        return plays

    def _task(self, task, folder="playbooks"):
        if "block" in task:
            return task | {"block": [self._task(one, folder) for one in task["block"]]}
        if name := _included(task):
            file = self.root / folder / name
            tasks = yaml.safe_load(file.read_text())
            kept = {key: task[key] for key in ("name", "when", "vars") if key in task}
            block = [self._task(one, file.parent) for one in tasks if not _left_out(one)]
            return kept | {"block": block}
        if "ansible.builtin.stat" in task:
            fact = {task["register"]: {"stat": {"exists": self.deployed}}}
            return {"name": task["name"], "ansible.builtin.set_fact": fact}
        (action,) = [key for key in task if ACTIONS.match(key)] or [None]
        if action is None:
            return task
        options = task[action]
        kind = action
        if action.endswith("_role"):
            kind = options["name"] + ":" + options.get("tasks_from", "main")
        kept = {key: task[key] for key in ("name", "when", "vars", "loop") if key in task}
        return kept | self._record(kind)

    def _record(self, kind):
        values = ", ".join(f"'{name}': {name} | default(none)" for name in self._variables)
        record = f"{{'host': inventory_hostname, 'action': '{kind}', 'values': {{{values}}}}}"
        return {"ansible.builtin.debug": {"msg": f"record: {{{{ {record} | to_json }}}} end"}}


def _included(task):
    """Return the file that a task imports or includes, if any."""
    for key in ("ansible.builtin.import_tasks", "ansible.builtin.include_tasks"):
        if isinstance(task.get(key), str):
            return task[key]
    return None


def _left_out(task):
    return LEFT_OUT.search(_included(task) or "")


def lose(groups, *names):
    """Make hosts unreachable."""
    for hosts in groups.values():
        for name in names:
            if name in hosts:
                address = {"ansible_host": "127.0.0.1", "ansible_port": 1}
                hosts[name] = hosts[name] | address | {"ansible_connection": "ssh"}
