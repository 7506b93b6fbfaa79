"""Redirect URIs of OAuth applications."""

from __future__ import annotations

import pytest
from atoll.auth.redirect_uris import covers


@pytest.mark.parametrize("registered", ["https://[", "https://[:::]/x", "http://a]b/"])
def test_a_malformed_registered_uri_covers_nothing(registered: str) -> None:
    assert not covers(registered, "https://a/b")
