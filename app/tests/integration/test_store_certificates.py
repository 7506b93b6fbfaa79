"""Each connection to a store verifies the certificate, and CA certificates are loaded once.

Loading them while another connection is in a handshake occasionally crashes the process.
"""

from __future__ import annotations

import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest
from atoll.storage.drivers import make_store
from atoll.storage.errors import StoreUnavailable
from atoll.storage.observed_store import ignore_outcome

from .services import Services
from .site import Site

# The client, its prober, and the transfers.
CONTEXTS = 3
THREADS = 24


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Record each file of CA certificates that is loaded into an SSLContext."""
    files: list[object] = []
    load = ssl.SSLContext.load_verify_locations

    def record(context: ssl.SSLContext, cafile: str, *other: None) -> None:
        files.append(cafile)
        load(context, cafile, *other)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", record)
    return files


def test_parallel_connections_load_ca_certificates_once(
    services: Services, us: Site, loaded: list[object]
) -> None:
    authority = str(services.us.certificate)
    settings = us.services.bundle.stores["usstorage"]
    store = make_store("usstorage", settings, ca_bundle=authority, observe=ignore_outcome)

    def use(number: int) -> bytes:
        store.put(f"certificates/{number}", b"content", 7)
        assert store.size(f"certificates/{number}") == 7
        store.probe(write=False)
        return b"".join(store.read(f"certificates/{number}"))

    with ThreadPoolExecutor(THREADS) as pool:
        assert set(pool.map(use, range(THREADS))) == {b"content"}
    assert 1 <= loaded.count(authority) <= CONTEXTS


def test_a_certificate_of_an_unknown_ca_is_refused(us: Site) -> None:
    settings = us.services.bundle.stores["usstorage"]
    store = make_store("usstorage", settings, ca_bundle=None, observe=ignore_outcome)

    with pytest.raises(StoreUnavailable, match="SSLError"):
        store.size("anything")
