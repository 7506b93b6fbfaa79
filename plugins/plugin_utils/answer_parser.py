"""Validation of answers, which reports all problems at once."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.atoll.registry.plugins.plugin_utils.answer_conflicts import conflicts
from ansible_collections.atoll.registry.plugins.plugin_utils.answers import (
    SERVICES,
    Answers,
    Certificate,
    InvalidAnswers,
    Redis,
    Region,
    Store,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.store_kinds import STORE_KINDS

IMAGES = ("registry", "postgres", "redis", "load_balancer")
DEFAULT_STORAGE_PATH = "/datastorage/registry"

# Variables of other playbooks, which may be set in the same file.
_OTHER_VARIABLES = frozenset({"atoll_vault_password_file", "atoll_smoke_test"})
_REQUIRED = {
    "atoll_inventory": "inventories/production",
    "atoll_hostname": "registry.example.org",
    "atoll_regions": "[{name: us, hosts: {us-1: 192.0.2.11}, store: {kind: s3, ...}}]",
    "atoll_images": ".cache/images",
}
_OPTIONAL = (
    "atoll_shared_host",
    "atoll_database_uri",
    "atoll_redis_uri",
    "atoll_ssh_user",
    "atoll_ssh_key",
    "atoll_superuser",
    "atoll_certificates",
    "atoll_ca_files",
    "atoll_image_login",
)
_REGION_ANSWERS = ("name", "hosts", "load_balancers", "floating_address", "store")
_RESERVED_NAMES = frozenset({"all", "ungrouped", "localhost", "object_stores"})

_REGION_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
_HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_USER_NAME = re.compile(r"[a-z][a-z0-9_.-]{1,254}")
_SSH_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}", re.IGNORECASE)
_IMAGE = re.compile(r"[^@\s{}]+@sha256:[0-9a-f]{64}")
_PLACEHOLDER = re.compile(r"change-?me|\.\.\.|todo|<.*>", re.IGNORECASE)
_TEMPLATE = re.compile(r"\{[{%#]")


def missing_answers(given: Mapping[str, Any]) -> list[str]:
    """Return the names of required answers that were not given."""
    missing = [name for name in _REQUIRED if given.get(name) in (None, "", [], {})]
    if not given.get("atoll_shared_host") and not (
        given.get("atoll_database_uri") and given.get("atoll_redis_uri")
    ):
        missing.append("atoll_shared_host")
    return missing


def parse_answers(given: Mapping[str, Any], base: Path) -> Answers:
    """Validate answers.

    Args:
        given: the answers by variable name.
        base: the directory that relative paths refer to.

    Raises:
        InvalidAnswers: with a sentence for each problem.
    """
    reader = _Reader(base)
    answers = reader.read(given)
    if reader.problems or answers is None:
        raise InvalidAnswers(reader.problems)
    return answers


def parse_hosts(text: str) -> dict[str, str]:
    """Return the hosts in `NAME=ADDRESS, NAME=ADDRESS`, as typed at a prompt."""
    found = {}
    for word in re.split(r"[,\s]+", text.strip()):
        name, _equals, address = word.partition("=")
        if word:
            found[name] = address
    return found


@dataclass
class _Reader:
    """Collects all problems instead of failing at the first."""

    base: Path
    problems: list[str] = field(default_factory=list)

    def read(self, given: Mapping[str, Any]) -> Answers | None:
        self._check_names(given, (*_REQUIRED, *_OPTIONAL, *_OTHER_VARIABLES), "")
        for name in missing_answers(given):
            if name in _REQUIRED:
                self._problem(name, "is missing", _REQUIRED[name])
        hostname = self._hostname(given.get("atoll_hostname"))
        regions = self._regions(given.get("atoll_regions"))
        shared = self._shared(given)
        images, archives = self._images(given.get("atoll_images"), regions, given)
        directory = given.get("atoll_inventory")
        answers = Answers(
            directory=self._path(directory) if directory else self.base,
            hostname=hostname,
            regions=regions,
            shared_host=shared,
            database_uri=self._database(given.get("atoll_database_uri")),
            redis=self._redis(given.get("atoll_redis_uri")),
            images=images,
            image_archives=archives,
            image_login=self._image_login(given.get("atoll_image_login")),
            ssh_user=self._matching(
                given, "atoll_ssh_user", "deploy", _SSH_USER, "the name of a user"
            ),
            ssh_key=self._file("atoll_ssh_key", given.get("atoll_ssh_key"), "~/.ssh/id_ed25519"),
            superuser=self._matching(
                given, "atoll_superuser", "admin", _USER_NAME, "a user name of the registry"
            ),
            certificates=self._certificates(given),
            ca_files=self._ca_files(given.get("atoll_ca_files")),
        )
        self.problems += conflicts(answers)
        return None if self.problems else answers

    def _problem(self, name: str, problem: str, example: str) -> None:
        self.problems.append(f"{name} {problem}. Example: {example}")

    def _check_names(self, given: Mapping[str, Any], known: tuple[str, ...], prefix: str) -> None:
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(known)}"
                self.problems.append(f"{prefix}{name} is not an answer of this playbook; {hint}")

    def _path(self, value: Any) -> Path:
        return (self.base / Path(str(value)).expanduser()).resolve()

    def _file(self, name: str, value: Any, example: str) -> str | None:
        if value in (None, ""):
            return None
        path = self._path(value)
        if not path.is_file():
            self._problem(name, f"names {path}, which is not a file on the controller", example)
        return str(path)

    def _matching(
        self,
        given: Mapping[str, Any],
        name: str,
        default: str,
        pattern: re.Pattern[str],
        meaning: str,
    ) -> str:
        value = given.get(name, default)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self._problem(name, f'is "{value}", which is not {meaning}', default)
        return str(value)

    def _hostname(self, value: Any) -> str:
        if value in (None, ""):
            return ""
        text = str(value)
        if not _HOST_NAME.fullmatch(text):
            self._problem(
                "atoll_hostname",
                f'is "{text}", which is not a host name in lower case without a scheme and port',
                "registry.example.org",
            )
        return text

    def _addresses(self, name: str, value: Any, example: str) -> dict[str, str]:
        if value in (None, {}):
            return {}
        if not isinstance(value, Mapping):
            self._problem(name, "must map names of hosts to IP addresses", example)
            return {}
        for host, address in value.items():
            if not _HOST_NAME.fullmatch(str(host)):
                self._problem(name, f'has a host "{host}", which is not a host name', example)
            if not _is_address(address):
                self._problem(
                    name,
                    f'gives {host} the address "{address}", which is not an IPv4 address of the'
                    " host",
                    example,
                )
        return {str(host): str(address) for host, address in value.items()}

    def _regions(self, value: Any) -> list[Region]:
        if value in (None, []):
            return []
        if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
            self._problem("atoll_regions", "must be a list of regions", _REQUIRED["atoll_regions"])
            return []
        return [self._region(f"atoll_regions[{index}]", one) for index, one in enumerate(value)]

    def _region(self, name: str, given: Mapping[str, Any]) -> Region:
        self._check_names(given, _REGION_ANSWERS, f"{name}.")
        region = str(given.get("name") or "")
        if not _REGION_NAME.fullmatch(region) or region in _RESERVED_NAMES:
            self._problem(
                f"{name}.name",
                f'is "{region}"; it must begin with a lower-case letter, and have only lower-case'
                " letters, digits and _",
                "us",
            )
        elif region.startswith("atoll"):
            self._problem(f"{name}.name", "must not begin with atoll, as groups do", "us")
        hosts = self._addresses(f"{name}.hosts", given.get("hosts"), "{us-1: 192.0.2.11}")
        if given.get("hosts") in (None, {}):
            self._problem(f"{name}.hosts", "is missing", "{us-1: 192.0.2.11}")
        return Region(
            name=region,
            hosts=hosts,
            load_balancers=self._addresses(
                f"{name}.load_balancers", given.get("load_balancers"), "{lb-us: 192.0.2.20}"
            ),
            floating_address=self._floating(f"{name}.floating_address", given),
            store=self._store(f"{name}.store", region, given.get("store")),
        )

    def _floating(self, name: str, given: Mapping[str, Any]) -> str | None:
        address = given.get("floating_address")
        if address in (None, ""):
            return None
        if not _is_address(address):
            self._problem(name, f'is "{address}", which is not an IPv4 address', "192.0.2.25")
        elif not given.get("load_balancers"):
            self._problem(name, "requires load balancers in the same region", "192.0.2.25")
        return str(address)

    def _store(self, name: str, region: str, value: Any) -> Store:
        location = f"{region}storage"
        if not isinstance(value, Mapping) or value.get("kind") not in STORE_KINDS:
            self._problem(
                f"{name}.kind",
                f"must be one of {', '.join(STORE_KINDS)}",
                "{kind: s3, bucket: atoll-us, region: us-east-1, access_key: ..., secret_key: ...}",
            )
            return Store(location, "", {}, {})
        driver, fields = STORE_KINDS[value["kind"]]
        self._check_names(value, ("kind", "path", *fields), f"{name}.")
        arguments: dict[str, Any] = {}
        secrets: dict[str, str] = {}
        for answer, description in fields.items():
            content = value.get(answer)
            if content in (None, ""):
                if description.required:
                    self._problem(f"{name}.{answer}", "is missing", description.example)
            elif description.secret:
                secrets[description.argument] = self._secret(
                    f"{name}.{answer}", content, description.example
                )
            elif description.argument:
                arguments[description.argument] = self._plain(
                    f"{name}.{answer}", content, description.example
                )
        if value["kind"] == "s3" and len(secrets) == 1:
            self._problem(
                name, "needs both access_key and secret_key, or neither", "secret_key: wJal..."
            )
        if (endpoint := value.get("endpoint")) not in (None, ""):
            arguments = self._endpoint(f"{name}.endpoint", str(endpoint), arguments, value["kind"])
        arguments["storage_path"] = self._plain(
            f"{name}.path", value.get("path", DEFAULT_STORAGE_PATH), DEFAULT_STORAGE_PATH
        )
        return Store(location, driver, arguments, secrets)

    def _endpoint(
        self, name: str, value: str, arguments: dict[str, Any], kind: str
    ) -> dict[str, Any]:
        try:
            url = urlsplit(value)
            port = url.port
        except ValueError:
            url, port = urlsplit(""), None
        bare = kind != "ceph" or url.path in ("", "/")
        if url.scheme not in ("http", "https") or not url.hostname or not bare:
            self._problem(
                name,
                f'is "{value}"; it must be a URL that begins with https:// or http://'
                f"{'' if kind != 'ceph' else ', without a path'}",
                "https://ceph.example.org:443",
            )
            return arguments
        if kind != "ceph":
            return arguments
        secure = url.scheme == "https"
        place = {
            "hostname": url.hostname,
            "port": port or (443 if secure else 80),
            "is_secure": secure,
        }
        return place | arguments

    def _secret(self, name: str, value: Any, example: str) -> str:
        text = self._plain(name, value, example)
        if isinstance(text, str) and _PLACEHOLDER.search(text):
            self._problem(name, "is a placeholder", example)
        return str(text)

    # Values become part of YAML files whose strings Ansible treats as templates.
    def _plain(self, name: str, value: Any, example: str) -> Any:
        if _TEMPLATE.search(str(value)):
            self._problem(
                name, "contains {{, {% or {#, which Ansible would treat as a template", example
            )
        return value

    def _shared(self, given: Mapping[str, Any]) -> dict[str, str]:
        example = "{shared-1: 192.0.2.10}"
        value = given.get("atoll_shared_host")
        managed = given.get("atoll_database_uri") and given.get("atoll_redis_uri")
        if not value and not managed:
            self._problem(
                "atoll_shared_host",
                "is missing, the host of PostgreSQL and Redis; it may be omitted only if both"
                " atoll_database_uri and atoll_redis_uri are set",
                example,
            )
        if value and managed:
            self._problem(
                "atoll_shared_host",
                "has no purpose, because both atoll_database_uri and atoll_redis_uri are set",
                "omit it",
            )
        hosts = self._addresses("atoll_shared_host", value, example)
        if len(hosts) > 1:
            self._problem(
                "atoll_shared_host",
                "has several hosts; there is exactly one PostgreSQL for all sites",
                example,
            )
        return hosts

    def _database(self, value: Any) -> str | None:
        if value in (None, ""):
            return None
        text = str(self._plain("atoll_database_uri", value, "postgresql://..."))
        url = urlsplit(text)
        if url.scheme not in ("postgresql", "postgres") or "@" not in url.netloc or not url.path:
            self._problem(
                "atoll_database_uri",
                "must be a URI with user, password, host and database",
                "postgresql://atoll:PASSWORD@db.example.org:5432/atoll",
            )
        return text

    def _redis(self, value: Any) -> Redis | None:
        if value in (None, ""):
            return None
        text = str(self._plain("atoll_redis_uri", value, "rediss://..."))
        try:
            url = urlsplit(text)
            port = url.port or 6379
        except ValueError:
            url, port = urlsplit(""), 0
        if url.scheme not in ("redis", "rediss") or not url.hostname:
            self._problem(
                "atoll_redis_uri",
                "must be a URI that begins with rediss:// or redis://",
                "rediss://:PASSWORD@redis.example.org:6379",
            )
            return None
        return Redis(str(url.hostname), port, url.password, url.scheme == "rediss")

    def _images(
        self, value: Any, regions: list[Region], given: Mapping[str, Any]
    ) -> tuple[dict[str, str], bool]:
        if value in (None, ""):
            return {}, True
        needed = [
            name
            for name, used in {
                "registry": True,
                "postgres": not given.get("atoll_database_uri"),
                "redis": not given.get("atoll_redis_uri"),
                "load_balancer": any(region.load_balancers for region in regions),
            }.items()
            if used
        ]
        if isinstance(value, Mapping):
            return self._image_references(value, needed), False
        folder = self._path(value)
        archives = {name: folder / f"{name.replace('_', '-')}.tar" for name in needed}
        lacking = [path.name for path in archives.values() if not path.is_file()]
        if lacking:
            self._problem(
                "atoll_images",
                f"names the directory {folder}, which has no {', '.join(lacking)} (`make images`"
                " writes the archives to .cache/images)",
                ".cache/images",
            )
        return {name: str(path) for name, path in archives.items()}, True

    def _image_references(self, value: Mapping[str, Any], needed: list[str]) -> dict[str, str]:
        self._check_names(value, IMAGES, "atoll_images.")
        example = "quay.example.org/atoll/registry@sha256:DIGEST"
        for name in needed:
            reference = str(value.get(name) or "")
            if not _IMAGE.fullmatch(reference):
                self._problem(
                    f"atoll_images.{name}",
                    f'is "{reference}"; it must name an image by its digest of 64 hexadecimal'
                    " digits",
                    example,
                )
            elif reference.endswith("0" * 64):
                self._problem(f"atoll_images.{name}", "has a digest of zeros", example)
        return {name: str(value.get(name)) for name in needed}

    def _image_login(self, value: Any) -> dict[str, str] | None:
        if value in (None, {}):
            return None
        known = ("registry", "username", "password")
        example = "{registry: quay.example.org, username: atoll+hosts, password: ...}"
        if not isinstance(value, Mapping) or not all(value.get(name) for name in known):
            self._problem("atoll_image_login", f"must have {', '.join(known)}", example)
            return None
        self._check_names(value, known, "atoll_image_login.")
        return {
            name: str(self._plain(f"atoll_image_login.{name}", value[name], example))
            for name in known
        }

    def _certificates(self, given: Mapping[str, Any]) -> dict[str, Certificate]:
        value = given.get("atoll_certificates")
        if value in (None, {}, "private"):
            return {}
        example = "{registry: {certificate: registry.crt, key: registry.key, ca: ca.crt}}"
        if not isinstance(value, Mapping) or not all(
            isinstance(one, Mapping) for one in value.values()
        ):
            self._problem("atoll_certificates", "must map services to files", example)
            return {}
        self._check_names(value, SERVICES, "atoll_certificates.")
        managed = {
            "postgres": bool(given.get("atoll_database_uri")),
            "redis": bool(given.get("atoll_redis_uri")),
        }
        return {
            service: self._certificate(service, value[service], managed.get(service, False))
            for service in SERVICES
            if service in value
        }

    def _certificate(self, service: str, value: Mapping[str, Any], managed: bool) -> Certificate:
        name = f"atoll_certificates.{service}"
        # Only the CA of a managed service is known. Clients of the registry trust public CAs.
        required = ["ca"] if managed else ["certificate", "key"]
        required += ["ca"] if service != "registry" and not managed else []
        known = ("ca",) if managed else ("certificate", "key", "ca")
        self._check_names(value, known, f"{name}.")
        files: dict[str, str] = {}
        for part in known:
            example = f"tls/{service}{'-ca.crt' if part == 'ca' else f'.{part[:3]}'}"
            path = self._file(f"{name}.{part}", value.get(part), example)
            if path is None and part in required:
                self._problem(f"{name}.{part}", "is missing", example)
            files[part] = path or ""
        if files["ca"] and service == "redis" and not files["ca"].endswith(".crt"):
            self._problem(f"{name}.ca", "names a file that does not end in .crt", "redis-ca.crt")
        return Certificate(files.get("certificate", ""), files.get("key", ""), files["ca"] or None)

    def _ca_files(self, value: Any) -> list[str]:
        if value in (None, []):
            return []
        example = "[/etc/pki/ceph-ca.crt]"
        if not isinstance(value, list):
            self._problem("atoll_ca_files", "must be a list of files", example)
            return []
        files = [str(self._file("atoll_ca_files", one, example)) for one in value]
        for path in files:
            if not path.endswith(".crt"):
                self._problem(
                    "atoll_ca_files", f"names {path}, whose name does not end in .crt", example
                )
        return files


def _is_address(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(ipaddress.IPv4Address(value))
    except ValueError:
        return False
