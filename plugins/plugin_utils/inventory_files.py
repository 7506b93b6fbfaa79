"""The files of an inventory: rendering, comparison with existing files, and atomic writes."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import yaml
from ansible_collections.atoll.registry.plugins.plugin_utils.answers import Answers, Region
from ansible_collections.atoll.registry.plugins.plugin_utils.certificates import (
    KeyPair,
    UnusableKey,
    create_authority,
    issue,
)

VAULT_FILE = "group_vars/all/vault.yml"
# Ansible ignores files below group_vars that do not end in .yml or similar.
TLS_DIRECTORY = "group_vars/atoll/tls"

_TEMPLATES = (
    "hosts.yml",
    "group_vars/all/registry.yml",
    "group_vars/atoll/connection.yml",
    "group_vars/atoll/images.yml",
    "group_vars/atoll/tls.yml",
)
_GENERATED = ("vault_superuser_password", "vault_database_secret_key", "vault_secret_key")
_SECRET_BYTES = 32
_PUBLIC, _PRIVATE = 0o644, 0o600


class InventoryConflict(Exception):
    """Existing files do not correspond to the answers.

    Attributes:
        problems: a sentence for each file.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Vault:
    """Encryption of files with secrets.

    Attributes:
        encrypt: encrypts the content of a file; None to write it as plain text.
        decrypt: returns the plain content of a file. Raises ValueError without the password.
    """

    encrypt: Callable[[bytes], bytes] | None
    decrypt: Callable[[bytes], bytes]


@dataclass(frozen=True)
class File:
    """A file to create: its path in the inventory, content and mode."""

    path: str
    content: bytes
    mode: int = _PUBLIC


@dataclass
class Inventory:
    """The inventory of valid answers.

    Attributes:
        answers: the answers.
        templates: the directory of the templates.
        vault: the encryption of secrets.
    """

    answers: Answers
    templates: Path
    vault: Vault
    _problems: list[str] = field(default_factory=list)

    def missing_files(self) -> list[File]:
        """Return the files that do not exist yet.

        Raises:
            InventoryConflict: an existing file does not correspond to the answers.
        """
        self._problems = []
        files = [*self._rendered(), *self._secrets(), *self._tls()]
        if self._problems:
            raise InventoryConflict(self._problems)
        return files

    def write(self, files: list[File]) -> None:
        """Create files without overwriting any.

        Secrets are written first: an interrupted run is completed with the same secrets.
        """
        for file in sorted(files, key=lambda one: one.mode):
            path = self.answers.directory / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            content = file.content
            if file.mode == _PRIVATE and self.vault.encrypt is not None:
                content = self.vault.encrypt(content)
            _create(path, content, file.mode)

    def _rendered(self) -> Iterator[File]:
        environment = _environment(self.templates)
        for name in _TEMPLATES:
            text = environment.get_template(f"{name}.j2").render(**self._variables())
            existing = self._existing(name)
            if existing is None:
                yield File(name, text.encode())
            elif differing := _differences(existing, text):
                self._problems.append(
                    f"{self.answers.directory / name} differs from the answers in"
                    f" {', '.join(differing)}. Existing files are never overwritten: edit the file"
                    " instead of running this playbook again, or choose another atoll_inventory"
                )
        if self.vault.encrypt is None and self._existing(".gitignore") is None:
            text = environment.get_template("gitignore.j2").render(**self._variables())
            yield File(".gitignore", text.encode())

    def _variables(self) -> dict[str, Any]:
        return {
            "answers": self.answers,
            "preferences": {
                region.name: _preference(self.answers.regions, region)
                for region in self.answers.regions
            },
            "secret_names": sorted(self._given_secrets()),
            "store_variable": _store_variable,
            "issued": self.answers.issued(),
            "extra_ca_files": self.answers.extra_ca_files("{{ tls_directory }}/ca.crt"),
            "encrypted": self.vault.encrypt is not None,
            "tls_directory": TLS_DIRECTORY,
            "vault_file": VAULT_FILE,
        }

    def _secrets(self) -> Iterator[File]:
        given = self._given_secrets()
        names = list(_GENERATED)
        names += ["vault_postgres_password"] if self.answers.postgres else []
        names += ["vault_redis_password"] if self.answers.redis_deployed else []
        existing = self._existing(VAULT_FILE, secret=True)
        if existing is None:
            generated = {name: secrets.token_hex(_SECRET_BYTES) for name in sorted(names)}
            yield File(VAULT_FILE, _vault_text(generated | given).encode(), _PRIVATE)
            return
        present = _load(existing)
        lacking = [name for name in (*names, *given) if not present.get(name)]
        changed = [name for name, value in given.items() if present.get(name, value) != value]
        if lacking or changed:
            self._problems.append(
                f"{self.answers.directory / VAULT_FILE} differs from the answers in"
                f" {', '.join(sorted({*lacking, *changed}))}. Existing files are never"
                " overwritten: edit the file (with `ansible-vault edit` if it is encrypted), or"
                " choose another atoll_inventory"
            )

    def _given_secrets(self) -> dict[str, str]:
        answers = self.answers
        found = {
            _store_variable(region, argument): value
            for region in answers.regions
            for argument, value in region.store.secrets.items()
        }
        if answers.database_uri:
            found["vault_database_uri"] = answers.database_uri
        if answers.redis and answers.redis.password:
            found["vault_redis_password"] = answers.redis.password
        if answers.image_login:
            found["vault_image_password"] = answers.image_login["password"]
        return found

    def _tls(self) -> Iterator[File]:
        issued = self.answers.issued()
        missing = [name for name in issued if not self._has_pair(name)]
        if not missing:
            return
        authority = self._authority()
        if authority is None:
            return
        if not (self.answers.directory / TLS_DIRECTORY / "ca.crt").exists():
            yield from _pair_files("ca", authority)
        for name in missing:
            try:
                yield from _pair_files(name, issue(authority, self._certificate_names(name)))
            except (UnusableKey, ValueError) as error:
                self._problems.append(
                    f"{self.answers.directory / TLS_DIRECTORY}/ca.key cannot be used ({error})."
                    " Restore the file"
                )
                return

    def _authority(self) -> KeyPair | None:
        directory = f"{TLS_DIRECTORY}/ca"
        certificate = self._existing(f"{directory}.crt")
        key = self._existing(f"{directory}.key", secret=True)
        if certificate is None and key is None:
            names = [self.answers.hostname, *self.answers.hosts, *self.answers.hosts.values()]
            return create_authority(f"{self.answers.hostname} CA", names)
        if certificate is None or key is None:
            lacking, other = ("key", "crt") if key is None else ("crt", "key")
            self._problems.append(
                f"{self.answers.directory / directory}.{lacking} is missing, without which no"
                f" certificate can be issued. Restore it, or remove {self.answers.directory}"
                f"/{directory}.{other} and all certificates to create another CA"
            )
            return None
        return KeyPair(certificate, key)

    def _has_pair(self, name: str) -> bool:
        directory = self.answers.directory / TLS_DIRECTORY
        certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
        if certificate.exists() != key.exists():
            present, lacking = (certificate, key) if certificate.exists() else (key, certificate)
            self._problems.append(
                f"{lacking} is missing, although {present} exists. Restore it, or remove {present}"
                " to issue another certificate"
            )
        return certificate.exists() or key.exists()

    # Load balancers verify the certificate of a site for its inventory name if the registry has no
    # host name.
    def _certificate_names(self, service: str) -> list[str]:
        if service == "registry":
            by_address = self.answers.hostname.replace(".", "").isdecimal()
            hosts = [name for region in self.answers.regions for name in region.hosts]
            return [self.answers.hostname, *(hosts if by_address else [])]
        return [*self.answers.shared_host, *self.answers.shared_host.values()]

    def _existing(self, name: str, *, secret: bool = False) -> bytes | None:
        path = self.answers.directory / name
        if not path.exists():
            return None
        content = path.read_bytes()
        if not secret:
            return content
        try:
            return self.vault.decrypt(content)
        except ValueError as error:
            self._problems.append(f"{path} cannot be decrypted ({error}). Provide its password")
            return None


def _preference(regions: list[Region], own: Region) -> list[str]:
    others = [region.location for region in regions if region is not own]
    return [own.location, *others]


def _store_variable(region: Region, argument: str) -> str:
    """Return the name of the variable for a secret argument of a region's store."""
    return f"vault_{region.location}_{argument.removeprefix('s3_')}"


def _environment(templates: Path) -> jinja2.Environment:
    """Return an environment with delimiters that differ from those of the rendered files."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        variable_start_string="<[",
        variable_end_string="]>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        # The files are YAML, and each value passes through the filter `yaml`.
        autoescape=False,  # noqa: S701
    )
    environment.filters["yaml"] = _yaml
    return environment


def _yaml(value: Any) -> str:
    """Return a value as YAML on one line, without quotes where they are not required."""
    if isinstance(value, Mapping):
        pairs = (f"{_yaml(key)}: {_yaml(item)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    if isinstance(value, str) and not set(value) & set(",[]{}#'\"&*!|>%@`\\ \n\t"):
        try:
            if yaml.safe_load(value) == value and ": " not in value and value[-1] != ":":
                return str(value)
        except yaml.YAMLError:
            pass
    return json.dumps(str(value) if isinstance(value, str) else value, ensure_ascii=False)


def _vault_text(values: Mapping[str, str]) -> str:
    lines = [f"{name}: {json.dumps(str(value))}" for name, value in values.items()]
    comment = (
        "# Secrets of the registry. vault_database_secret_key encrypts data in the database; do\n"
        "# not change it later. vault_superuser_password is the first password of the superuser.\n"
    )
    return f"---\n{comment}" + "\n".join(lines) + "\n"


def _load(content: bytes) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(content)
    except yaml.YAMLError:
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _differences(existing: bytes, text: str) -> list[str]:
    """Return the names of top-level settings whose values differ, in both YAML files."""
    try:
        present, wanted = yaml.safe_load(existing), yaml.safe_load(text)
    except yaml.YAMLError:
        return ["its format"]
    present = present if isinstance(present, dict) else {}
    return sorted(
        str(name)
        for name in {*present, *wanted}
        if present.get(name, _ABSENT) != wanted.get(name, _ABSENT)
    )


_ABSENT = object()


def _pair_files(name: str, pair: KeyPair) -> Iterator[File]:
    yield File(f"{TLS_DIRECTORY}/{name}.key", pair.key, _PRIVATE)
    yield File(f"{TLS_DIRECTORY}/{name}.crt", pair.certificate)


def _create(path: Path, content: bytes, mode: int) -> None:
    """Create a file atomically, with its final permissions from the start.

    Raises:
        FileExistsError: the file exists.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
    try:
        # A link, unlike a rename, never replaces a file.
        os.link(temporary, path)
    finally:
        temporary.unlink()
