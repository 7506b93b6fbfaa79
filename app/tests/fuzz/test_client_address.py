"""The client address of X-Forwarded-For is never an entry that an untrusted hop could forge."""

from __future__ import annotations

import ipaddress

import falcon.testing
from atoll.web.client_address import find_client_address
from hypothesis import strategies as st

from .fuzzing import assert_linear, fuzz
from .mutation import header_values

TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]
_ADDRESS = st.ip_addresses().map(str) | st.sampled_from(
    [
        "10.0.0.1",
        "10.9.9.9",
        "fd00::1",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
        "192.0.2.1:80",
        "unknown",
    ]
)
VALID = st.lists(_ADDRESS, max_size=6).map(", ".join)


def _find(header: str) -> str:
    req = falcon.testing.create_req(headers={"X-Forwarded-For": header})
    return find_client_address(req, TRUSTED)


def _trusted(entry: str) -> bool:
    try:
        return any(ipaddress.ip_address(entry) in network for network in TRUSTED)
    except ValueError:
        return False


def check(header: str) -> None:
    entries = [entry.strip() for entry in header.split(",") if entry.strip()]
    found = _find(header)
    if not entries:
        assert found == "127.0.0.1"
        return
    assert found in entries
    # Entries before the last untrusted address have no effect.
    assert found == _find(f"203.0.113.1, {header}") or all(map(_trusted, entries))


def test_forged_addresses_are_ignored() -> None:
    fuzz(check, header_values(VALID))


def test_a_long_header_is_parsed_in_linear_time() -> None:
    for piece in ("10.0.0.1,", ",", "x", "fd00::1,"):
        assert_linear(_find, lambda size, piece=piece: piece * (size // len(piece)), 4000)
