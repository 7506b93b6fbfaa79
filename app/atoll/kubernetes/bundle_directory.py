"""Variables that all sites share, from the directory of the bundle."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from atoll.config.check import check
from atoll.config.load import read
from atoll.errors import UserError
from atoll.kubernetes.findings import Findings, Place

_CONFIG, _DATABASE = "config.yaml", "database.pem"
_TLS = {"ssl.cert": "registry_tls_certificate_file", "ssl.key": "registry_tls_key_file"}
_EXTRA = "extra_ca_certs"
# Keys of a Secret have no directories, so the Operator takes such files for those of _EXTRA.
_EXTRA_PREFIX = "extra_ca_cert_"
_HOSTNAME = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")
# Jinja would read braces as an expression.
_UNUSABLE = re.compile(r"[{}'\"\\\x00-\x1f]")


class BundleDirectory:
    """The directory of a bundle, such as `oc extract` writes it.

    Args:
        path: the directory. If it is relative, variables refer to that of the inventory.

    Attributes:
        file: the path of its config.yaml.
        locations: the names in DISTRIBUTED_STORAGE_CONFIG.
        preference: DISTRIBUTED_STORAGE_PREFERENCE.
        workloads: what runs with this bundle: `registry`, `replication` and `mirror`.

    Raises:
        UserError: the bundle cannot be read.
    """

    def __init__(self, path: str) -> None:
        if _UNUSABLE.search(path):
            raise UserError(f"--bundle {path}: use a path without quotes, braces and backslashes")
        self._directory = Path(path)
        file = self._directory / _CONFIG
        self.file = str(file)
        try:
            self._raw = read(file.read_text(encoding="utf-8"), self.file)
            self.files = sorted(one.name for one in self._directory.iterdir())
            extra = self._directory / _EXTRA
            self._extra = sorted(one.name for one in extra.iterdir()) if extra.is_dir() else []
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not a text in UTF-8"
            raise UserError(
                f"{self.file}: cannot be read ({reason}); write the Secret of configBundleSecret"
                " to a directory with `oc extract secret/NAME --to=DIR`"
            ) from error
        if not isinstance(self._raw, Mapping):
            raise UserError(f"{self.file}: must be a map of keys to values")
        self.locations = [str(name) for name in _mapping(self._raw, "DISTRIBUTED_STORAGE_CONFIG")]
        preference = self._raw.get("DISTRIBUTED_STORAGE_PREFERENCE")
        self.preference = list(map(str, preference)) if isinstance(preference, list) else []
        enabled = {
            "registry": True,
            "replication": self._raw.get("FEATURE_STORAGE_REPLICATION") is True,
            # The Operator enables it, and so does the inventory.
            "mirror": self._raw.get("FEATURE_REPO_MIRROR", True) is True
            or self._raw.get("FEATURE_ORG_MIRROR") is True,
        }
        self.workloads = [name for name, is_enabled in enabled.items() if is_enabled]

    def variables(self, findings: Findings, *, mirror: bool) -> dict[str, Any]:
        """Return the variables that all sites share.

        Args:
            findings: gets the missing files, and those that are not taken.
            mirror: whether a site mirrors repositories.
        """
        found: dict[str, Any] = {}
        hostname = _HOSTNAME.fullmatch(str(self._raw.get("SERVER_HOSTNAME", "")))
        if hostname is None:
            findings.problem(
                Place(self.file),
                "SERVER_HOSTNAME is not a host name; set it to the name of the load balancer, and"
                " registry_hostname as well",
            )
        else:
            found["registry_hostname"] = hostname[1]
        found["registry_config"] = self._config(mirror=mirror, findings=findings)
        for name, variable in _TLS.items():
            if name in self.files:
                found[variable] = self._reference(name)
            else:
                findings.problem(
                    Place(str(self._directory)),
                    f"has no {name}: add it, or set {variable}; the certificate must be valid for"
                    " SERVER_HOSTNAME",
                )
        if _DATABASE in self.files:
            found["registry_database_ca_file"] = self._reference(_DATABASE)
        certificates = list(self._certificates(findings))
        if certificates:
            found["registry_extra_ca_files"] = certificates
        self._check_others(findings)
        return found

    def check(self, preference: list[str], findings: Findings) -> None:
        """Find the problems of config.yaml.

        Args:
            preference: that of a site; empty if it is unknown.
            findings: gets the problems.
        """
        for problem in check(self._raw, preference or None).problems:
            findings.problem(Place(self.file), problem)

    def _config(self, *, mirror: bool, findings: Findings) -> str:
        """Return an expression that reads config.yaml, so that its secrets are not printed."""
        defaults: dict[str, bool | str] = {"PREFERRED_URL_SCHEME": "https"}
        if mirror:
            defaults["FEATURE_REPO_MIRROR"] = True
        added = {key: json.dumps(value) for key, value in defaults.items() if key not in self._raw}
        for key, value in added.items():
            findings.note(
                Place(self.file),
                f"{key} is not set: registry_config has {value}, as the Operator sets it",
            )
        path = f'"{self._path(_CONFIG)}"'
        if not self._directory.is_absolute():
            path = f"inventory_dir ~ {path}"
        keys = ", ".join(f'"{key}": {value}' for key, value in added.items())
        combined = f" | combine({{{keys}}})" if added else ""
        return f'{{{{ lookup("ansible.builtin.file", {path}) | from_yaml{combined} }}}}'

    def _certificates(self, findings: Findings) -> Iterator[str]:
        names = [f"{_EXTRA}/{name}" for name in self._extra if not name.startswith(".")]
        names += [name for name in self.files if name.startswith(_EXTRA_PREFIX)]
        if (self._directory / _EXTRA).is_file():
            names.append(_EXTRA)
        for name in names:
            if not name.endswith(".crt"):
                findings.problem(
                    Place(str(self._directory / name)),
                    "registry_extra_ca_files takes names that end in .crt; rename the file",
                )
            elif _UNUSABLE.search(name):
                findings.problem(
                    Place(str(self._directory)),
                    f"{name} has a quote, a brace or a backslash in its name; rename the file",
                )
            else:
                yield self._reference(name)

    def _check_others(self, findings: Findings) -> None:
        known = {_CONFIG, _DATABASE, _EXTRA, *_TLS}
        for name in self.files:
            if name not in known and not name.startswith((".", _EXTRA_PREFIX)):
                findings.note(
                    Place(str(self._directory / name)),
                    f"the file is not taken: a bundle has {', '.join(sorted(known))} only",
                )

    def _reference(self, name: str) -> str:
        prefix = "" if self._directory.is_absolute() else "{{ inventory_dir }}"
        return f"{prefix}{self._path(name)}"

    def _path(self, name: str) -> str:
        path = (self._directory / name).as_posix()
        return path if self._directory.is_absolute() else f"/{path}"


def _mapping(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key)
    return value if isinstance(value, Mapping) else {}
