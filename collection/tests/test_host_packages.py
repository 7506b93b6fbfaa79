"""Packages are those of the distribution, and an old podman is refused before an installation."""

import json
import os
import subprocess

import pytest

PLAY = """
- hosts: all
  gather_facts: false
  vars: {role: atoll.registry.host}
  tasks:
    - block:
        - ansible.builtin.include_role: {name: "{{ role }}", tasks_from: packages, public: true}
      always:
        - ansible.builtin.debug: {msg: "missing: {{ __host_missing_packages | join(', ') }}."}
"""
DEBIAN = ["aardvark-dns", "ca-certificates", "crun", "netavark", "nftables", "podman"]
DEBIAN = [*DEBIAN, "python3-podman"]
REQUIREMENT = "Podman 5.0 or later is required: earlier versions do not support Notify=healthy"


@pytest.fixture
def run(root, tmp_path):
    """Run the tasks on a host whose programs print the given text."""

    def run_tasks(family, *words, **programs):
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, output in programs.items():
            program = folder / name.replace("_", "-")
            text = output if output is not None else ""
            status = 0 if output is not None else 127
            program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {status}\n")
            program.chmod(0o755)
        (tmp_path / "hosts.json").write_text(
            json.dumps({"all": {"hosts": {"us-1": {"ansible_connection": "local"}}}})
        )
        (tmp_path / "play.yml").write_text(PLAY)
        facts = json.dumps({"ansible_facts": {"os_family": family}})
        command = ["ansible-playbook", "-i", tmp_path / "hosts.json", tmp_path / "play.yml"]
        return subprocess.run(
            [*command, "-e", facts, *words],
            cwd=root,
            env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "COLUMNS": "1000"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run_tasks


def words(done):
    return " ".join((done.stdout + done.stderr).split())


def test_an_installed_podman_that_is_too_old_is_refused_before_the_installation(run):
    done = run("Debian", podman="4.9.3", dpkg_query="installed podman")

    assert done.returncode != 0
    assert f"us-1 has podman 4.9.3. {REQUIREMENT}" in words(done)
    assert "Nothing was installed." in words(done)
    assert "Ensure the required packages are installed" not in done.stdout


def test_a_podman_of_the_repositories_that_is_too_old_is_refused_before_the_installation(run):
    listed = "Available Packages\npodman.x86_64        2:4.6.1-5.el9        appstream"
    done = run("RedHat", podman=None, rpm="installed crun", dnf=listed)

    assert done.returncode != 0
    assert f"its package repositories have podman 4.6.1. {REQUIREMENT}" in words(done)
    assert "Nothing was installed." in words(done)
    assert "Ensure the required packages are installed" not in done.stdout


def test_nothing_is_installed_if_no_package_is_missing(run):
    installed = "\n".join(f"installed {name}" for name in DEBIAN)
    done = run("Debian", podman="5.4.2", dpkg_query=installed)

    assert done.returncode == 0, done.stdout
    assert "missing: ." in done.stdout
    assert "changed=0" in done.stdout


def test_packages_of_enterprise_linux_include_the_selinux_policy(run):
    installed = "\n".join(f"installed {name}" for name in DEBIAN)
    done = run("RedHat", "--check", podman="5.4.2", rpm=installed)

    assert "missing: container-selinux." in words(done)


def test_a_distribution_without_known_packages_needs_only_podman(run):
    done = run("Suse", podman="5.4.2")

    assert done.returncode == 0, done.stdout
    assert "missing: ." in done.stdout
