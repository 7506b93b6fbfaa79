"""The archive of the collection contains the files that it needs, and no others."""

import os
import subprocess
import tarfile

import pytest
from checkout import copy_checkout, tracked_files
from tools import TOOLS

SHIPPED = ("app/atoll", "files", "meta", "inventories/example", "playbooks", "plugins", "roles")
SECRETS = (
    "inventories/yours/hosts.yml",
    "inventories/yours/group_vars/all/registry.yml",
    "inventories/yours/group_vars/all/vault.yml",
    "inventories/yours/tls/registry.crt",
    "inventories/yours/tls/registry.key",
    "inventories/example/group_vars/all/vault.yml",
    "inventories/example/group_vars/atoll/tls/registry.key",
    "inventories/production.yml",
    "playbooks/registry.key",
    "roles/registry/files/registry.key",
    "ca.key",
    "lost-with-eustorage.json",
    "vault.yml",
    ".vault-password",
)


@pytest.fixture(scope="module")
def tracked(request):
    """Return the paths of the regular files in version control."""
    root = request.config.rootpath
    return [name for name in tracked_files(root) if not (root / name).is_symlink()]


@pytest.fixture(scope="module")
def packed(request, tmp_path_factory):
    """Build the collection in a copy of the repository that also holds secrets; list its files."""
    copy = copy_checkout(request.config.rootpath, tmp_path_factory.mktemp("checkout"))
    for name in SECRETS:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("secret\n")
    output = tmp_path_factory.mktemp("archive")
    words = [TOOLS / "ansible-galaxy", "collection", "build", "--output-path", output, copy]
    done = subprocess.run(
        words,
        check=False,
        env={**os.environ, "HOME": str(output)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    (archive,) = output.glob("atoll-registry-*.tar.gz")
    with tarfile.open(archive) as members:
        return {member.name for member in members if not member.isdir()}


def test_no_inventory_vault_or_key_of_an_operator_is_packed(packed):
    assert packed & set(SECRETS) == set()
    inventories = {name for name in packed if name.startswith("inventories/")}
    assert {name.split("/")[1] for name in inventories} == {"example", "example-answers.yml"}


def test_each_file_that_the_playbooks_need_is_packed(packed, tracked):
    needed = {name for name in tracked if name.startswith(tuple(f"{top}/" for top in SHIPPED))}

    assert "plugins/modules/service.py" in packed
    assert needed - packed == set(), "add a directive for these files to galaxy.yml"


def test_each_page_of_the_documentation_is_packed(packed, tracked):
    pages = {name for name in tracked if name.startswith("docs/")}

    assert pages - packed == set()


def test_only_tracked_files_are_packed(packed, tracked):
    assert packed - set(tracked) == {"MANIFEST.json", "FILES.json"}


def test_an_inventory_of_an_operator_is_ignored_by_git(root):
    words = ["git", "-C", str(root), "check-ignore", "--no-index", *SECRETS[:5]]
    done = subprocess.run(words, check=False, stdout=subprocess.PIPE, text=True)

    assert done.stdout.split() == list(SECRETS[:5])


def test_inventories_of_the_repository_are_not_ignored_by_git(root, tracked):
    inventories = [name for name in tracked if name.startswith("inventories/")]
    words = ["git", "-C", str(root), "check-ignore", "--no-index", *inventories]
    done = subprocess.run(words, check=False, stdout=subprocess.PIPE, text=True)

    assert done.stdout == ""
