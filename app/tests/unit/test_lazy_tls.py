"""CA certificates are loaded when a connection needs them, and only once."""

from __future__ import annotations

import ssl

import pytest
from atoll.outbound import tls


def test_certificates_are_loaded_once_by_the_first_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[str | None] = []

    def create(cafile: str | None = None) -> ssl.SSLContext:
        loaded.append(cafile)
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    monkeypatch.setattr(ssl, "create_default_context", create)
    context = tls.lazy_context("ca.pem")
    assert loaded == []
    assert context() is context()
    assert loaded == ["ca.pem"]
