"""Temporary credentials of a role from Amazon's Security Token Service.

They are requested by the first request to the store, not at start-up, and refreshed some minutes
before they expire. So an unavailable service prevents no process from starting, and stored keys
alone cannot read the store.
"""

from __future__ import annotations

from typing import Any

import botocore.session
from botocore.config import Config
from botocore.credentials import DeferredRefreshableCredentials

from atoll.config.stores import S3StoreSettings

_SESSION_NAME = "atoll"
_LIFETIME_SECONDS = 3600


def role_session(
    settings: S3StoreSettings, ca_bundle: str | None, timeout: int
) -> botocore.session.Session:
    """Return a session with the credentials of the role, without making a request."""
    keys = settings.credentials
    service: Any = botocore.session.get_session().create_client(
        "sts",
        region_name=settings.region or "us-east-1",
        endpoint_url=settings.role_endpoint,
        aws_access_key_id=keys[0].get_secret_value() if keys else None,
        aws_secret_access_key=keys[1].get_secret_value() if keys else None,
        verify=ca_bundle,
        config=Config(
            connect_timeout=timeout, read_timeout=timeout, retries={"total_max_attempts": 1}
        ),
    )

    def assume() -> dict[str, str]:
        credentials = service.assume_role(
            RoleArn=settings.role, RoleSessionName=_SESSION_NAME, DurationSeconds=_LIFETIME_SECONDS
        )["Credentials"]
        return {
            "access_key": credentials["AccessKeyId"],
            "secret_key": credentials["SecretAccessKey"],
            "token": credentials["SessionToken"],
            "expiry_time": credentials["Expiration"].isoformat(),
        }

    session = botocore.session.get_session()
    # The documented way to set credentials has no public name in botocore.
    session._credentials = DeferredRefreshableCredentials(assume, "sts-assume-role")  # type: ignore[attr-defined]
    return session
