"""`superuser/instances`: the instances of all sites."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from atoll.cluster.instances import Instances
from atoll.db.pool import Database
from atoll.web.api.operation import Call, operation
from atoll.web.api.schemas import utc


class InstanceDetailSchema(TypedDict):
    """An instance.

    `site` is its nearest location. `drift` names the keys of its bundle that differ from the
    majority. `lost` means that its heartbeats stopped and that no other instance of its site has
    its role. `certificate_expires_at` is null if it serves no TLS, and for an earlier version.
    """

    site: str
    role: str
    hostname: str
    version: str
    started_at: str
    seen_seconds_ago: float
    lost: bool
    drift: list[str]
    certificate_expires_at: str | None


class InstancesSchema(TypedDict):
    """All instances, ordered by site."""

    instances: list[InstanceDetailSchema]


class InstanceList:
    """`superuser/instances`."""

    def __init__(self, database: Database) -> None:
        self._instances = Instances(database)

    @operation("listInstances", response=InstancesSchema, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """List the instances with versions, heartbeats, deviating keys and certificates."""
        call.require_superuser()
        return {
            "instances": [
                {
                    "site": one.preference[0],
                    "role": one.role,
                    "hostname": one.hostname,
                    "version": one.version,
                    "started_at": utc(one.started_at),
                    "seen_seconds_ago": one.seen_seconds_ago,
                    "lost": one.lost,
                    "drift": one.drift,
                    "certificate_expires_at": (
                        utc(one.certificate_expires_at) if one.certificate_expires_at else None
                    ),
                }
                for one in self._instances.all()
            ]
        }
