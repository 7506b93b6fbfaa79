"""`user/notifications`: notifications that the caller reads in the API."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from atoll.notifications.notices import Notice, Notices
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import http_date

_PAGE_MAXIMUM = 10_000


class NoticeQuery(RequestModel):
    """The page of results, from 0, and its size."""

    page: int = Field(default=0, ge=0, le=_PAGE_MAXIMUM)
    limit: int = Field(default=5, ge=1, le=100)


class NoticeChange(RequestModel):
    """Whether the notification is dismissed."""

    dismissed: bool = False


class NoticeSchema(TypedDict):
    """A notification. `organization` is None if it was sent to the caller."""

    id: str
    organization: str | None
    kind: str
    created: str | None
    metadata: dict[str, Any]
    dismissed: bool


class NoticePage(TypedDict):
    """Notifications, newest first, and whether there are more."""

    notifications: list[NoticeSchema]
    additional: bool


class NoticeList:
    """`user/notifications`."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices

    @operation("listUserNotifications", query=NoticeQuery, response=NoticePage, scope="user:admin")
    def on_get(self, call: Call) -> Any:
        """List notifications to the caller and the caller's organizations, unless dismissed."""
        query: NoticeQuery = call.query
        found, more = self._notices.list(call.actor.id, query.page, query.limit)
        return {"notifications": [_serialize(one) for one in found], "additional": more}


class NoticeResource:
    """`user/notifications/{uuid}`."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices

    @operation("getUserNotification", response=NoticeSchema, scope="user:admin")
    def on_get(self, call: Call, uuid: UUID) -> Any:
        """Get a notification to the caller."""
        return _serialize(self._notices.get(call.actor.id, uuid))

    @operation(
        "updateUserNotification", body=NoticeChange, response=NoticeSchema, scope="user:admin"
    )
    def on_put(self, call: Call, uuid: UUID) -> Any:
        """Dismiss a notification to the caller, or show it again."""
        change: NoticeChange = call.body
        return _serialize(self._notices.dismiss(call.actor.id, uuid, dismissed=change.dismissed))


def _serialize(one: Notice) -> NoticeSchema:
    return {
        "id": str(one.uuid),
        "organization": one.organization,
        "kind": one.kind,
        "created": http_date(one.created_at),
        "metadata": dict(one.metadata),
        "dismissed": one.dismissed,
    }
