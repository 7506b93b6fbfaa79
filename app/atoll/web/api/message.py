"""`messages`: announcements to all users."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from atoll.registry.banners import Banners
from atoll.web.api.operation import Call, RequestModel, operation


class MessageText(RequestModel):
    """The content of a message."""

    content: str = Field(min_length=1, max_length=65536)
    media_type: Literal["text/plain", "text/markdown"]
    severity: Literal["info", "warning", "error"]


class NewMessage(RequestModel):
    """A message to publish."""

    message: MessageText


class MessageSchema(TypedDict):
    """A published message."""

    uuid: str
    content: str
    severity: str
    media_type: str


class MessageList:
    """`messages`."""

    def __init__(self, messages: Banners) -> None:
        self._messages = messages

    @operation("getGlobalMessages", response=dict[str, list[MessageSchema]], anonymous=True)
    def on_get(self, call: Call) -> Any:
        """List the messages to all users."""
        del call
        return {
            "messages": [
                {
                    "uuid": str(one.uuid),
                    "content": one.content,
                    "severity": one.severity,
                    "media_type": one.media_type,
                }
                for one in self._messages.list()
            ]
        }

    @operation("createGlobalMessage", body=NewMessage, status=201, response=str, scope="super:user")
    def on_post(self, call: Call) -> Any:
        """Publish a message to all users."""
        call.require_superuser()
        new: MessageText = call.body.message
        self._messages.create(new.content, new.severity, new.media_type)
        call.log("create_message", None, severity=new.severity)
        return "Created"


class MessageResource:
    """`message/{uuid}`."""

    def __init__(self, messages: Banners) -> None:
        self._messages = messages

    @operation("deleteGlobalMessage", status=204, scope="super:user")
    def on_delete(self, call: Call, uuid: UUID) -> None:
        """Delete a message."""
        call.require_superuser()
        self._messages.delete(uuid)
        call.log("delete_message", None, message=str(uuid))
