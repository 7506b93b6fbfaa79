"""A preflight of an inventory in a directory, as an operator runs it."""

import importlib
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml
from ansible.parsing.dataloader import DataLoader

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Outcome:
    """The exit status, the output and the report of a preflight."""

    status: int
    output: str
    report: dict

    @property
    def ids(self):
        """Return the ids of all problems."""
        return {item["id"] for item in self.report["problems"]}

    def errors(self):
        """Return the ids of errors."""
        return {item["id"] for item in self.report["problems"] if item["severity"] == "error"}


class Directory:
    """A copy of the example inventory."""

    def __init__(self, folder):
        self.folder = folder / "inventory"
        shutil.copytree(ROOT / "inventories/example", self.folder)
        example = self.folder / "group_vars/all/vault.yml.example"
        names = yaml.safe_load(example.read_text())
        self.write(
            "group_vars/all/vault.yml",
            {name: f"{n}5d0c1a9e7b3f48261f4c02{name}" for n, name in enumerate(names)},
        )

    def edit(self, file, *replacements):
        """Replace texts of a file, each of which must occur."""
        path = self.folder / file
        text = path.read_text()
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        path.write_text(text)

    def write(self, file, values):
        """Write variables to a file."""
        (self.folder / file).write_text(yaml.safe_dump(values))

    def preflight(self, *words, playbook="validate"):
        """Run a playbook and return its outcome."""
        report = self.folder.parent / "report.json"
        report.unlink(missing_ok=True)
        done = subprocess.run(
            [
                "ansible-playbook",
                f"--inventory={self.folder}",
                str(ROOT / f"playbooks/{playbook}.yml"),
                "-e",
                f"atoll_preflight_report={report}",
                *words,
            ],
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "80", "ANSIBLE_NOCOLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        output = done.stdout + done.stderr
        assert report.is_file(), output
        return Outcome(done.returncode, output, json.loads(report.read_text()))

    def encrypt(self, file, text, password):
        """Write a file that is encrypted with the password in another file."""
        path = self.folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        words = ["ansible-vault", "encrypt", f"--vault-password-file={password}", str(path)]
        subprocess.run(words, check=True, capture_output=True)

    def state(self):
        """Return the content of all files of the inventory."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def inventory(**groups):
    """Return an inventory of groups with the variables of their hosts, without templates."""
    # By name, because the collection can be imported only after `pytest_configure`.
    module = importlib.import_module(
        "ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory"
    )

    class Hostvars:
        def raw_get(self, host):
            names = [group for group, hosts in groups.items() if host in hosts]
            variables = {"inventory_hostname": host, "group_names": ["atoll", *names]}
            for name in names:
                variables |= groups[name][host]
            return variables

    roles = module.Roles(DataLoader(), ROOT / "roles")
    return module.Inventory(
        Hostvars(), {name: list(hosts) for name, hosts in groups.items()}, roles
    )


def identifiers():
    """Return the ids of all problems that the controller can report, from the source."""
    folder = ROOT / "plugins/plugin_utils/preflight"
    text = "".join(path.read_text() for path in folder.glob("*.py"))
    found = set(re.findall(r'problem\(\s*"([a-z-]+)"', text))
    return found | {f"several-{role}-hosts" for role in ("postgres", "redis")}
