"""Run playbooks of the collection against the machines, as an operator does."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from commands import REPOSITORY, podman
from definition import Lab

# First task of a rollout after the bundle and the units have been written. The containers have not
# been restarted yet.
WRITTEN = "Ensure the target of the site is running"
_RECAP = re.compile(r"^(\S+)\s+: (.+)$", re.MULTILINE)


# Without a shared connection, every use of a machine is a login that its journal records.
ALWAYS_LOG_IN = {"ansible_ssh_args": "-o ControlMaster=no"}


class Outcome:
    """The output and the exit status of a run."""

    def __init__(self, status: int, output: str) -> None:
        self.status = status
        self.output = output

    def hosts(self, counter: str) -> dict[str, int]:
        """Return a counter of the recap, such as `changed`, by host."""
        recap = self.output.partition("PLAY RECAP")[2]
        return {
            host: int(dict(word.split("=") for word in counters.split())[counter])
            for host, counters in _RECAP.findall(recap)
        }


def run_site(lab: Lab, folder: Path, *words: str, **variables: Any) -> Outcome:
    """Run playbooks/site.yml with extra variables."""
    return run_playbook("site", lab, folder, *words, **variables)


def run_playbook(name: str, lab: Lab, folder: Path, *words: str, **variables: Any) -> Outcome:
    """Run a playbook with extra variables, which a file passes because some are secret."""
    process = start_playbook(name, lab, folder, *words, **variables)
    output, _ = process.communicate()
    return Outcome(process.returncode, output)


def start_playbook(
    name: str, lab: Lab, folder: Path, *words: str, **variables: Any
) -> "subprocess.Popen[str]":
    """Start a playbook in a new process group, without waiting for it."""
    changed = folder / "variables.json"
    changed.touch(mode=0o600)
    changed.write_text(json.dumps(variables))
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    inventories = [f"--inventory={path}" for path in lab.inventories]
    return subprocess.Popen(
        [program, f"playbooks/{name}.yml", *inventories, f"--extra-vars=@{changed}", *words],
        cwd=REPOSITORY,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kill_playbook(
    seconds: float, name: str, lab: Lab, folder: Path, *words: str, **variables: Any
) -> None:
    """Start a playbook, and kill it and its child processes after the given time."""
    process = start_playbook(name, lab, folder, *words, **variables)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill(process)


def kill_playbook_at(
    task: str, name: str, lab: Lab, folder: Path, *words: str, **variables: Any
) -> None:
    """Start a playbook, and kill it and its child processes when a task starts."""
    process = start_playbook(name, lab, folder, *words, **variables)
    await_task(process, task)
    kill(process)


def kill(process: "subprocess.Popen[str]") -> None:
    """Kill a playbook and its child processes on this host."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def await_task(process: "subprocess.Popen[str]", task: str) -> None:
    """Wait until a task of the playbook starts."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("TASK [") and task in line:
            return
    process.wait()
    raise AssertionError(f"there was no task '{task}':\n{''.join(lines)}")


def logins(lab: Lab) -> int:
    """Return the number of logins to all machines, read with podman, which is no login."""
    count = ("journalctl", "--no-pager", "--unit=ssh", "--grep=^Accepted publickey")
    journals = (podman("exec", machine.container, *count) for machine in lab.machines)
    return sum(len(journal.splitlines()) for journal in journals)


# An operator's environment does not contain Molecule's settings.
def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return kept | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")}
