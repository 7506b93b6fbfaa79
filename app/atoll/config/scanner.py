"""The keys of the security scanner: Quay's, their defaults, and the rules between them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, JsonValue, SecretStr

from atoll.config.units import Size

_ATOLL: dict[str, JsonValue] = {"origin": "Atoll"}
# HMAC with SHA-256 needs a key of at least its own length (RFC 7518, section 3.2).
_KEY_MINIMUM = 32


def checked_endpoint(url: str) -> str:
    """Return the URL of a Clair without a slash at its end.

    Raises:
        ValueError: It is not the URL of an HTTP server.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be a URL such as https://clair.example:8443")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user name or a password")
    return url.strip().rstrip("/")


def checked_key(key: SecretStr) -> SecretStr:
    """Return a key that is shared with Clair.

    Raises:
        ValueError: It is not Base64, or too short.
    """
    try:
        decoded = base64.b64decode(key.get_secret_value(), validate=True)
    except binascii.Error as error:
        raise ValueError("must be Base64, for example from `openssl rand -base64 32`") from error
    if len(decoded) < _KEY_MINIMUM:
        raise ValueError(
            f"must be at least {_KEY_MINIMUM} bytes in Base64, for example from"
            f" `openssl rand -base64 {_KEY_MINIMUM}`"
        )
    return key


Endpoint = Annotated[str, AfterValidator(checked_endpoint)]
SharedKey = Annotated[SecretStr, AfterValidator(checked_key)]
SeverityName = Literal["Critical", "High", "Medium", "Low", "Negligible", "Unknown"]


class ScannerKeys(BaseModel):
    """The keys of the security scanner; see `Bundle`."""

    feature_security_scanner: bool = Field(
        default=False,
        description="Have images scanned by Clair, and serve its reports.",
    )
    security_scanner_v4_endpoint: Endpoint | None = Field(
        default=None,
        description="URL of Clair, for sites that SCANNER_ENDPOINTS does not name.",
    )
    scanner_endpoints: dict[str, Endpoint] = Field(
        default_factory=dict,
        description="URL of the Clair of each site, by location. Clairs share one database; a site"
        " asks the nearest one first, and the others if it is unavailable.",
        json_schema_extra=_ATOLL,
    )
    security_scanner_v4_psk: SharedKey | None = Field(
        default=None,
        description="Key that is shared with Clair, in Base64. It signs requests to Clair, and"
        " verifies Clair's notifications.",
    )
    scanner_previous_psk: SharedKey | None = Field(
        default=None,
        description="The previous key while SECURITY_SCANNER_V4_PSK is being replaced: it signs"
        " requests until Clair refuses it, and notifications may have either key.",
        json_schema_extra=_ATOLL,
    )
    scanner_unauthenticated_notifications: bool = Field(
        default=False,
        description="Accept notifications of Clair from any client if there is no key."
        " By default, they are refused then.",
        json_schema_extra=_ATOLL,
    )
    security_scanner_indexing_interval: int = Field(
        default=30,
        ge=1,
        description="Seconds between two searches for images to scan; a push starts one at once.",
    )
    security_scanner_v4_reindex_threshold: int = Field(
        default=300,
        ge=0,
        description="Seconds that pass at least until an image is scanned again after Clair got new"
        " means to analyze images.",
    )
    security_scanner_max_scan_retries: int = Field(
        default=5, ge=0, description="Attempts to scan an image again after Clair failed on it."
    )
    security_scanner_v4_index_max_layer_size: Size | None = Field(
        default=None,
        description="Size of the largest layer that is scanned, such as 2G; unlimited if not set.",
    )
    security_scanner_v4_manifest_cleanup: bool = Field(
        default=True,
        description="Delete the reports of images from Clair that no repository has any more.",
    )
    feature_security_notifications: bool = Field(
        default=False,
        description="Notify repositories of new vulnerabilities in scanned images.",
    )
    feature_security_scanner_notify_on_new_index: bool = Field(
        default=True,
        description="Notify repositories of the vulnerabilities of an image after its first scan.",
    )
    notification_min_severity_on_new_index: SeverityName = Field(
        default="High",
        description="The lowest severity that is notified after the first scan of an image.",
    )


def scanner_problems(keys: ScannerKeys, locations: Iterable[str]) -> list[str]:
    """Return a message for each rule between the keys that is broken.

    Args:
        keys: The keys.
        locations: The configured locations.
    """
    known = list(locations)
    found = [
        f"SCANNER_ENDPOINTS: '{name}' is not a location of DISTRIBUTED_STORAGE_CONFIG; known are"
        f" {', '.join(known)}"
        for name in keys.scanner_endpoints
        if name not in known
    ]
    if not keys.feature_security_scanner:
        return found
    if not keys.scanner_endpoints and keys.security_scanner_v4_endpoint is None:
        found.append(
            "FEATURE_SECURITY_SCANNER: is true although no scanner is configured; set"
            " SCANNER_ENDPOINTS or SECURITY_SCANNER_V4_ENDPOINT to the URL of Clair"
        )
    if keys.scanner_previous_psk is not None and keys.security_scanner_v4_psk is None:
        found.append(
            "SCANNER_PREVIOUS_PSK: is set although SECURITY_SCANNER_V4_PSK is not; set both while"
            " the key is replaced, and only the latter before and afterwards"
        )
    return found


def scanner_warnings(keys: ScannerKeys) -> list[str]:
    """Return a message for each combination of keys that is probably a mistake."""
    if not keys.feature_security_scanner:
        return []
    found = []
    if keys.security_scanner_v4_psk is None:
        refused = (
            "accepted from any client" if keys.scanner_unauthenticated_notifications else "refused"
        )
        found.append(
            "SECURITY_SCANNER_V4_PSK: is not set, so requests to Clair are not authenticated, and"
            f" its notifications are {refused}; set the same key here and in Clair"
        )
    return found
