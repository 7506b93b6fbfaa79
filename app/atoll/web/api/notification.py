"""`repository/{repository}/notification/`: notifications of events in a repository."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, ValidationInfo, WrapValidator
from typing_extensions import TypedDict

from atoll.auth.access import ADMIN
from atoll.names import RepositoryName
from atoll.notifications.authorized_addresses import AuthorizedAddresses
from atoll.notifications.events import VULNERABILITY_FOUND
from atoll.notifications.notices import Notices, Target
from atoll.notifications.receivers import Receivers
from atoll.notifications.subscriptions import (
    EMAIL,
    QUAY_NOTIFICATION,
    SLACK,
    WEBHOOK,
    InvalidReceiver,
    Notification,
    Notifications,
)
from atoll.web.api.errors import InvalidRequest
from atoll.web.api.operation import Call, RequestModel, operation


class UrlConfig(RequestModel):
    """The URL of the receiver. Templates for the payload are not supported."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(min_length=1, max_length=4096)
    template: Literal["", None] = None


class NoticeTarget(RequestModel):
    """The caller, a member of the namespace, the repository's organization, or one of its teams."""

    kind: Literal["user", "org", "team"]
    name: str = Field(min_length=1, max_length=255)


class NoticeConfig(RequestModel):
    """Who gets the notification in `user/notifications`."""

    model_config = ConfigDict(extra="forbid")

    target: NoticeTarget


class EmailConfig(RequestModel):
    """A confirmed address; see `repository/{repository}/authorizedemail/{email}`."""

    model_config = ConfigDict(extra="forbid")

    email: str = Field(min_length=1, max_length=254)


MethodConfig = UrlConfig | NoticeConfig | EmailConfig

_CONFIGS: dict[str, type[MethodConfig]] = {
    WEBHOOK: UrlConfig,
    SLACK: UrlConfig,
    QUAY_NOTIFICATION: NoticeConfig,
    EMAIL: EmailConfig,
}


class NewNotification(RequestModel):
    """A notification to create. Quay's other events and methods are not supported yet."""

    event: Literal[
        "repo_push",
        "repo_mirror_sync_started",
        "repo_mirror_sync_success",
        "repo_mirror_sync_failed",
        "vulnerability_found",
    ]
    method: Literal["webhook", "slack", "quay_notification", "email"]
    # Validated by the validator below, whose errors name the fields of the method only.
    config: Annotated[
        MethodConfig,
        WrapValidator(lambda value, _default, info: _method_config(value, info)),
    ]
    event_config: dict[str, Any] = Field(default_factory=dict, alias="eventConfig")
    title: str | None = Field(default=None, max_length=255)


def _method_config(value: Any, info: ValidationInfo) -> Any:
    """Validate the configuration of the method that was given before it."""
    model = _CONFIGS.get(info.data.get("method", ""))
    return value if model is None else model.model_validate(value)


class NotificationSchema(TypedDict):
    """A notification."""

    uuid: str
    event: str
    method: str
    config: dict[str, Any]
    title: str | None
    event_config: dict[str, Any]
    number_of_failures: int


class NotificationList:
    """`repository/{repository}/notification/`."""

    def __init__(
        self,
        notifications: Notifications,
        receivers: Receivers,
        notices: Notices,
        addresses: AuthorizedAddresses | None,
        *,
        vulnerabilities: bool,
    ) -> None:
        """Make the resource.

        Args:
            notifications: The notifications of all repositories.
            receivers: Checks URLs.
            notices: Checks targets.
            addresses: Checks addresses; None without FEATURE_MAILING.
            vulnerabilities: FEATURE_SECURITY_NOTIFICATIONS.
        """
        self._vulnerabilities = vulnerabilities
        self._notifications = notifications
        self._receivers = receivers
        self._notices = notices
        self._addresses = addresses

    @operation(
        "listRepoNotifications", response=dict[str, list[NotificationSchema]], scope="repo:admin"
    )
    def on_get(self, call: Call) -> Any:
        """List the notifications of a repository."""
        found = self._notifications.list(call.require(ADMIN))
        return {"notifications": [_serialize(one) for one in found]}

    @operation(
        "createRepoNotification",
        body=NewNotification,
        status=201,
        response=NotificationSchema,
        scope="repo:admin",
    )
    def on_post(self, call: Call) -> Any:
        """Create a notification."""
        name = call.require(ADMIN)
        new: NewNotification = call.body
        if new.event == VULNERABILITY_FOUND.name and not self._vulnerabilities:
            raise InvalidRequest(f"event: {new.event} requires FEATURE_SECURITY_NOTIFICATIONS")
        self._check(name, new.config, call.actor.id)
        created = self._notifications.create(
            name,
            new.event,
            new.method,
            title=new.title,
            config=new.config.model_dump(exclude={"template"}),
            event_config=new.event_config,
            creator_id=call.actor.id,
        )
        call.log(
            "add_repo_notification",
            name.namespace,
            notification_id=str(created.uuid),
            event=new.event,
            method=new.method,
        )
        return _serialize(created)

    def _check(self, name: RepositoryName, config: MethodConfig, creator_id: int | None) -> None:
        """Check a receiver.

        Raises:
            InvalidDestination: The URL is malformed, or its host is forbidden.
            InvalidReceiver: The target of the notice does not exist or may not be notified, or the
                address is not confirmed.
        """
        if isinstance(config, UrlConfig):
            self._receivers.check(config.url)
        elif isinstance(config, EmailConfig):
            if self._addresses is None:
                raise InvalidReceiver("this registry sends no e-mail: FEATURE_MAILING is not true")
            self._addresses.check(name, config.email)
        else:
            target = Target(config.target.kind, config.target.name)
            self._notices.check(name, target, creator_id)


class NotificationResource:
    """`repository/{repository}/notification/{uuid}`."""

    def __init__(self, notifications: Notifications) -> None:
        self._notifications = notifications

    @operation("getRepoNotification", response=NotificationSchema, scope="repo:admin")
    def on_get(self, call: Call, uuid: UUID) -> Any:
        """Get a notification."""
        return _serialize(self._notifications.get(call.require(ADMIN), uuid))

    @operation("resetRepositoryNotificationFailures", status=204, scope="repo:admin")
    def on_post(self, call: Call, uuid: UUID) -> None:
        """Reset the failures of a notification, which resumes its deliveries."""
        name = call.require(ADMIN)
        self._notifications.reset_failures(name, uuid)
        call.log("reset_repo_notification", name.namespace, notification_id=str(uuid))

    @operation("deleteRepoNotification", status=204, scope="repo:admin")
    def on_delete(self, call: Call, uuid: UUID) -> None:
        """Delete a notification."""
        name = call.require(ADMIN)
        self._notifications.delete(name, uuid)
        call.log("delete_repo_notification", name.namespace, notification_id=str(uuid))


class NotificationTest:
    """`repository/{repository}/notification/{uuid}/test`."""

    def __init__(self, notifications: Notifications) -> None:
        self._notifications = notifications

    @operation("testRepoNotification", scope="repo:admin")
    def on_post(self, call: Call, uuid: UUID) -> Any:
        """Queue a test delivery of a notification."""
        self._notifications.test(call.require(ADMIN), uuid)
        return {}


def _serialize(one: Notification) -> NotificationSchema:
    return {
        "uuid": str(one.uuid),
        "event": one.event,
        "method": one.method,
        "config": dict(one.config),
        "title": one.title,
        "event_config": dict(one.event_config),
        "number_of_failures": one.number_of_failures,
    }
