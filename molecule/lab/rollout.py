"""Deploy the registry to the lab with the playbook of the collection."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from commands import REPOSITORY, open_log
from definition import Lab
from errors import LabError
from progress import Step

_PLAY = re.compile(r"^PLAY \[(.+?)\]")
_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(.+?)\]")
_FAILURE = re.compile(r"^(fatal|failed|ERROR|\[ERROR\])")
_SHOWN = 15


def roll_out(lab: Lab, step: Step) -> None:
    """Run playbooks/site.yml, and show the current play and task. Raises LabError."""
    log = lab.log("site")
    words = [str(Path(sys.executable).with_name("ansible-playbook")), "playbooks/site.yml"]
    words += [f"--inventory={path}" for path in lab.inventories]
    # The demonstration pushes and pulls, too.
    words.append("--extra-vars=atoll_smoke_test=false")
    with open_log(log) as output:
        process = subprocess.Popen(
            words,
            cwd=REPOSITORY,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        failures: list[str] = []
        for line in process.stdout or ():
            output.write(_dated(line))
            output.flush()
            _show(line, step)
            if failures or _FAILURE.match(line):
                failures.append(line.rstrip())
        if process.wait():
            raise LabError(_explain(failures), log)


def _environment() -> dict[str, str]:
    programs = str(Path(sys.executable).parent)
    settings = {"ANSIBLE_NOCOLOR": "1", "PYTHONUNBUFFERED": "1"}
    return os.environ | settings | {"PATH": f"{programs}:{os.environ['PATH']}"}


# The log contains the start time of each task.
def _dated(line: str) -> str:
    return f"{time.strftime('%H:%M:%S')} {line}" if _TASK.match(line) else line


def _show(line: str, step: Step) -> None:
    if play := _PLAY.match(line):
        step.show(play[1])
    elif task := _TASK.match(line):
        step.show_briefly(task[1])


def _explain(failures: list[str]) -> str:
    first = "\n".join(failures[:_SHOWN]) or "ansible-playbook failed"
    return f"the rollout failed:\n{first}"
