"""Credentials of a role, lent by Amazon's Security Token Service for an hour.

They are asked for by the first request that needs them, never at boot, and again some minutes
before they end; so a service that is down stops no process, and no key that is stored can read.
"""

from __future__ import annotations

from typing import Any

import botocore.session
from botocore.config import Config
from botocore.credentials import DeferredRefreshableCredentials

from atoll.config.stores import S3StoreSettings

_SESSION_NAME = "atoll"
_LIFE_SECONDS = 3600


def role_session(
    settings: S3StoreSettings, ca_bundle: str | None, timeout: int
) -> botocore.session.Session:
    """Return a session whose credentials are the role's. No request is made yet."""
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

    def lend() -> dict[str, str]:
        lent = service.assume_role(
            RoleArn=settings.role, RoleSessionName=_SESSION_NAME, DurationSeconds=_LIFE_SECONDS
        )["Credentials"]
        return {
            "access_key": lent["AccessKeyId"],
            "secret_key": lent["SecretAccessKey"],
            "token": lent["SessionToken"],
            "expiry_time": lent["Expiration"].isoformat(),
        }

    session = botocore.session.get_session()
    # botocore's documented way to bring credentials of one's own has no public name.
    session._credentials = DeferredRefreshableCredentials(lend, "sts-assume-role")  # type: ignore[attr-defined]
    return session
