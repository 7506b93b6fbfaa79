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
DIGEST = "5d0c1a9e7b3f4826" * 4
REAL = {
    "192.0.2.": "10.1.0.",
    "198.51.100.": "10.2.0.",
    "example.org": "acme.test",
}


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
    """An inventory in a directory.

    Args:
        folder: The directory.
    """

    def __init__(self, folder):
        self.folder = folder

    @classmethod
    def example(cls, folder):
        """Copy the example inventory, and generate its secrets."""
        directory = cls(folder / "inventory")
        shutil.copytree(ROOT / "inventories/example", directory.folder)
        example = directory.folder / "group_vars/all/vault.yml.example"
        names = yaml.safe_load(example.read_text())
        secrets = {name: f"{n}5d0c1a9e7b3f48261f4c02{name}" for n, name in enumerate(names)}
        directory.write("group_vars/all/vault.yml", secrets)
        return directory

    @classmethod
    def created(cls, folder):
        """Create an inventory from answers, without the names and addresses of documentation."""
        text = (ROOT / "inventories/example-answers.yml").read_text()
        for old, new in REAL.items():
            text = text.replace(old, new)
        answers = yaml.safe_load(text)
        answers["atoll_inventory"] = str(folder / "inventory")
        answers["atoll_images"] = {
            name: f"registry.acme.test/atoll/{name}@sha256:{DIGEST}"
            for name in ("registry", "postgres", "redis", "load_balancer")
        }
        (folder / "answers.yml").write_text(yaml.safe_dump(answers))
        subprocess.run(
            [
                "ansible-playbook",
                "--inventory=localhost,",
                f"--extra-vars=@{folder}/answers.yml",
                str(ROOT / "playbooks/init.yml"),
            ],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        return cls(folder / "inventory")

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
        path = self.folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(values))

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
            parents = [] if names == ["atoll_kubernetes"] else ["atoll"]
            variables = {"inventory_hostname": host, "group_names": [*parents, *names]}
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
