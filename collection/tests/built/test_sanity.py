"""ansible-test sanity finds nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.release import __version__ as ansible_version

# The exceptions: the collection's license is Apache's, and health checks are no modules.
EXCEPTIONS = """\
plugins/{plugin}.py validate-modules:missing-gplv3-license
roles/{script} shebang
"""

# For its environments, ansible-test downloads pip from an address of its own. The pip of Python can
# install the requested version from the configured package index instead.
GET_PIP = """\
import os, subprocess, sys
subprocess.run([sys.executable, "-m", "ensurepip"], check=True)
packages = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
os.execv(sys.executable, [sys.executable, "-m", "pip", "install", *packages])
"""
PIP_VERSION = "24_2"


@pytest.fixture(scope="session")
def checked(machine):
    """Write the files of ansible-test."""
    ignored = machine.collection / "tests" / "sanity"
    ignored.mkdir(parents=True)
    major, minor = ansible_version.split(".")[:2]
    (ignored / f"ignore-{major}.{minor}.txt").write_text(_exceptions(machine.collection))
    cache = machine.home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True)
    (cache / f"get_pip_{PIP_VERSION}.py").write_text(GET_PIP)
    configuration = machine.home / ".config" / "pip" / "pip.conf"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(_pip_configuration())
    return machine


def test_ansible_test_sanity_finds_nothing(checked):
    checked.run(
        "ansible-test",
        "sanity",
        "--requirements",
        f"--python={sys.version_info.major}.{sys.version_info.minor}",
        *("plugins/", "roles/", "playbooks/", "meta/", "inventories/"),
        directory=checked.collection,
    )


def _exceptions(collection: Path) -> str:
    license_line, script_line = EXCEPTIONS.splitlines()
    plugins = collection / "plugins"
    documented = sorted(
        path.relative_to(plugins).with_suffix("")
        for kind in ("lookup", "modules")
        for path in (plugins / kind).glob("*.py")
    )
    scripts = sorted(
        str(path.relative_to(collection / "roles"))
        for path in (collection / "roles").glob("*/files/*")
        if path.is_file() and path.read_bytes().startswith(b"#!")
    )
    lines = [license_line.format(plugin=plugin) for plugin in documented]
    lines += [script_line.format(script=script) for script in scripts]
    return "".join(f"{line}\n" for line in lines)


def _pip_configuration() -> str:
    """Return the settings of pip as a file, because ansible-test passes on no environment."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    settings = {}
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = ast.literal_eval(value)
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())
