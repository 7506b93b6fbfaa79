"""`superuser/guarantees`: the guarantees of the registry with live figures."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from typing_extensions import TypedDict

from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.mirroring.status import MirrorStatuses
from atoll.placement.checks.missing_blobs import missing_blobs
from atoll.placement.locations.contents import ContentsQuery
from atoll.placement.status import StatusReporter
from atoll.placement.upkeep.garbage_status import GarbageStatus
from atoll.web.api.operation import Call, operation
from atoll.web.guarantees import Measurements, guarantees


class FigureSchema(TypedDict):
    """A figure; `unit` is `count`, `bytes`, `seconds`, or `time` for a time in RFC 3339."""

    name: str
    value: float | str | None
    unit: str


class GuaranteeSchema(TypedDict):
    """A guarantee, G1 to G9, and the figures that show its state.

    It is `kept`; `at risk` if another failure, or more time, may break it; `broken`; or `unknown`
    if no instance reports what is measured.
    """

    id: str
    text: str
    state: str
    figures: list[FigureSchema]


class GuaranteesSchema(TypedDict):
    """All guarantees."""

    guarantees: list[GuaranteeSchema]


class SuperuserGuarantees:
    """`superuser/guarantees`. Its cost does not depend on the number of blobs."""

    def __init__(self, database: Database, bundle: Bundle) -> None:
        self._database = database
        self._status = StatusReporter(database)
        self._contents = ContentsQuery(database)
        self._garbage = GarbageStatus(database)
        self._mirrors = MirrorStatuses(database)
        self._grace = bundle.garbage_collection_grace
        self._window = bundle.garbage_collection_failover_window

    @operation("getGuarantees", response=GuaranteesSchema, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """Get the guarantees G1 to G9 with the figures that show whether they are kept now."""
        call.require_superuser()
        _manifests, marked = self._garbage.waiting()
        measured = Measurements(
            status=self._status.report(),
            contents=self._contents.run(),
            missing=missing_blobs(self._database),
            marked=marked,
            deletions=self._garbage.queues(),
            mirrors=self._mirrors.summary(),
            grace=self._grace,
            window=self._window,
        )
        return {"guarantees": [asdict(one) for one in guarantees(measured)]}
