"""The answers from which an inventory is created."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVICES = ("registry", "postgres", "redis")


@dataclass(frozen=True)
class Store:
    """The object store of a region.

    Attributes:
        location: the name of the location.
        driver: the driver in DISTRIBUTED_STORAGE_CONFIG.
        arguments: the driver's arguments without secrets.
        secrets: the driver's secret arguments.
    """

    location: str
    driver: str
    arguments: dict[str, Any]
    secrets: dict[str, str]


@dataclass(frozen=True)
class Region:
    """A site: its hosts, load balancers and object store."""

    name: str
    hosts: dict[str, str]
    load_balancers: dict[str, str]
    floating_address: str | None
    store: Store

    @property
    def location(self) -> str:
        """The name of the region's location."""
        return self.store.location


@dataclass(frozen=True)
class Redis:
    """A managed Redis."""

    host: str
    port: int
    password: str | None
    tls: bool


@dataclass(frozen=True)
class Certificate:
    """An operator's certificate: absolute paths on the controller."""

    certificate: str
    key: str
    ca: str | None


@dataclass(frozen=True)
class Answers:
    """Valid answers, with absolute paths."""

    directory: Path
    hostname: str
    regions: list[Region]
    shared_host: dict[str, str]
    database_uri: str | None
    redis: Redis | None
    images: dict[str, str]
    image_archives: bool
    image_login: dict[str, str] | None
    ssh_user: str
    ssh_key: str | None
    superuser: str
    certificates: dict[str, Certificate]
    ca_files: list[str]

    @property
    def hosts(self) -> dict[str, str]:
        """The addresses of all hosts, by name."""
        found = dict(self.shared_host)
        for region in self.regions:
            found |= region.hosts | region.load_balancers
        return found

    @property
    def load_balancers(self) -> bool:
        """Whether a region has a load balancer."""
        return any(region.load_balancers for region in self.regions)

    @property
    def postgres(self) -> bool:
        """Whether PostgreSQL runs on the shared host."""
        return self.database_uri is None

    @property
    def redis_deployed(self) -> bool:
        """Whether Redis runs on the shared host."""
        return self.redis is None

    @property
    def shared_with_site(self) -> bool:
        """Whether the shared host also runs the registry."""
        return any(set(self.shared_host) & set(region.hosts) for region in self.regions)

    def extra_ca_files(self, private: str) -> list[str]:
        """Return the CA certificates for Redis and object stores.

        Args:
            private: the file of the private CA.
        """
        redis = self.certificates.get("redis")
        files = [private] if self.redis_deployed and redis is None else []
        files += [redis.ca] if redis and redis.ca else []
        return list(dict.fromkeys([*files, *self.ca_files]))

    def issued(self) -> list[str]:
        """Return the services that need a certificate of the private CA."""
        deployed = {"registry": True, "postgres": self.postgres, "redis": self.redis_deployed}
        return [name for name in SERVICES if deployed[name] and name not in self.certificates]


class InvalidAnswers(Exception):
    """Some answers are invalid or missing.

    Attributes:
        problems: a sentence for each.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
