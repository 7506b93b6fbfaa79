"""Mirrors in the database, as the API creates them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from atoll.auth.robot_rule import RobotRule
from atoll.auth.robots import RobotExists, Robots
from atoll.mirroring.mirrors import MirrorChange, Mirrors
from atoll.mirroring.status import MirrorStatuses, RunStatus
from atoll.names import RepositoryName
from atoll.outbound.policy import DestinationPolicy, Rules
from atoll.upstream.upstreams import Upstreams

from .sites import SUPERUSER, MemorySite

ROBOT = f"{SUPERUSER}+mirror"
START = datetime(2026, 1, 1, tzinfo=UTC)


def mirrors(site: MemorySite) -> Mirrors:
    """Return the mirrors of a site; upstreams may be at 127.0.0.1."""
    policy = DestinationPolicy(Rules.of(["127.0.0.1"]))
    return Mirrors(site.database, site.graph.cipher, Upstreams(policy).check)


def new_mirror(reference: str = "registry.example.com/team/app") -> MirrorChange:
    """Return the settings of a mirror of all tags, once an hour, by ROBOT."""
    return {
        "external_reference": reference,
        "robot_username": ROBOT,
        "root_rule": ["*"],
        "sync_interval": 3600,
        "sync_start_date": START,
    }


def make_robot(site: MemorySite, name: str = ROBOT) -> None:
    """Create a robot, unless it exists."""
    namespace, _, short_name = name.partition("+")
    robots = Robots(site.database, site.graph.cipher, RobotRule())
    with suppress(RobotExists):
        robots.create(namespace, short_name, "")


def make_mirror(
    site: MemorySite, repository: RepositoryName, change: MirrorChange | None = None
) -> RepositoryName:
    """Create a repository, unless it exists, with a mirror, and return its bound name.

    Args:
        site: The site.
        repository: The name, in the namespace of the robot.
        change: Settings that differ from those of `new_mirror`.
    """
    site.graph.repositories.create(repository, "private")
    make_robot(site, (change or {}).get("robot_username", ROBOT))
    new: MirrorChange = {**new_mirror(), **(change or {})}
    mirrors(site).create(repository, new)
    return mirrors(site).find(repository).repository


def last_run(site: MemorySite, repository: RepositoryName) -> RunStatus:
    """Return the last run of a mirror."""
    run = MirrorStatuses(site.database).one(repository).run
    assert run is not None
    return run
