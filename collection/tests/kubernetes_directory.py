"""An inventory of sites on clusters, and the files that a playbook renders for it."""

import base64
import os
import stat
import subprocess

import yaml
from certificate_files import Issuer
from kubernetes_sites import IMAGE, PREFERENCES, ROOT, documented_bundle
from tools import TOOLS

HOSTNAME = "registry.acme.test"
# Every secret has this word.
MARK = "hush"
SECRETS = {
    "DB_URI": f"postgresql://atoll:{MARK}-database-4c02a7e8@10.19.0.1:5432/quay",
    "DATABASE_SECRET_KEY": f"{MARK}-database-key-5d0c1a9e7b3f48261f4c02a7",
    "SECRET_KEY": f"{MARK}-key-8e93d605d0c1a9e7b3f48261f4c02",
    "INITIAL_SUPERUSER_PASSWORD": f"{MARK}-superuser-1f4c02a7",
}


class Directory:
    """An inventory of two sites.

    Args:
        folder: An empty directory.
    """

    def __init__(self, folder):
        self.folder = folder
        self.build = folder / "build/kubernetes"
        authority = Issuer(folder, "ca", ca=True)
        Issuer(folder, "registry", authority, names=[HOSTNAME])
        stores = documented_bundle()["DISTRIBUTED_STORAGE_CONFIG"]
        for _driver, store in stores.values():
            store["secret_key"] = f"{MARK}-{store['secret_key']}"
        bundle = {"SERVER_HOSTNAME": HOSTNAME, "SUPER_USERS": ["admin"]}
        bundle |= {"DISTRIBUTED_STORAGE_CONFIG": stores} | SECRETS
        self.variables = {
            "site_platform": "kubernetes",
            "registry_hostname": HOSTNAME,
            "registry_image": IMAGE,
            "registry_config": documented_bundle() | bundle,
            "registry_tls_certificate_file": str(folder / "registry.crt"),
            "registry_tls_key_file": str(folder / "registry.key"),
            "registry_ca_file": str(folder / "ca.crt"),
            "registry_extra_ca_files": [str(folder / "ca.crt")],
        }
        self.hosts = {
            f"cluster-{site}": {"registry_site": site, "registry_storage_preference": preference}
            for site, preference in PREFERENCES.items()
        }

    def play(self, *words):
        """Run the playbook, and return its exit status and output."""
        groups = {"atoll_kubernetes": {"hosts": self.hosts, "vars": self.variables}}
        inventory = self.folder / "hosts.yml"
        # Clusters have no SSH and no sudo.
        everywhere = {"ansible_connection": "ssh", "ansible_become": True}
        content = {"all": {"vars": everywhere, "children": groups}}
        inventory.write_text(yaml.safe_dump(content, sort_keys=False))
        done = subprocess.run(
            [
                TOOLS / "ansible-playbook",
                f"--inventory={inventory}",
                str(ROOT / "playbooks/kubernetes.yml"),
                *words,
            ],
            cwd=self.folder,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_NOCOLOR": "1",
                "COLUMNS": "200",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def files(self):
        """Return the content of all rendered files, by path."""
        return {
            path.relative_to(self.build).as_posix(): path.read_text()
            for path in sorted(self.build.rglob("*"))
            if path.is_file()
        }

    def modes(self):
        """Return the modes of all rendered files and directories."""
        paths = [self.build, *self.build.rglob("*")]
        return {path: stat.S_IMODE(path.stat().st_mode) for path in paths}

    def times(self):
        """Return the times of the last change of all files."""
        return {path: path.stat().st_mtime_ns for path in self.build.rglob("*")}


def decoded(secret):
    """Return the content of a Secret."""
    return "\n".join(base64.b64decode(text).decode() for text in secret["data"].values())
