"""Requests with undefined HTTP methods do not add metrics."""

from __future__ import annotations

import pytest

from ..image.running import RunningImage
from .raw import exchange, head


def metrics(image: RunningImage) -> str:
    return image.session().get(f"{image.operations_url}/metrics").text


@pytest.mark.parametrize("path", ["/v2/", "/v2/a/b/manifests/latest", "/health", "/api/v1/user/"])
def test_an_unknown_method_is_refused_in_the_error_format(image: RunningImage, path: str) -> None:
    answer = exchange(image.url, head("FOO-BAR", path))
    assert answer.status == 405
    assert "PATCH" in answer.headers["allow"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.codes() == ["UNSUPPORTED"]


@pytest.mark.parametrize("length", [200, 7000])
def test_unknown_methods_do_not_grow_the_metrics(image: RunningImage, length: int) -> None:
    for path in ("/v2/", "/health/instance"):
        exchange(image.url, head("FIRST-METHOD", path))
    metrics(image)  # This request is counted too.
    before = metrics(image)
    for number in range(20):
        method = f"METHOD-{'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[number]}" + length * "X"
        for path in ("/v2/", "/health/instance"):
            exchange(image.url, head(method, path))
        exchange(image.operations_url, head(method, "/metrics"))
    after = metrics(image)
    assert "METHOD-" not in after
    # Counters gain digits.
    assert len(after) < len(before) + 200


def test_methods_of_http_are_answered_by_the_application(image: RunningImage) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = exchange(image.url, head(method, "/v2/", "Content-Length: 0"), method)
        # The application, unlike nginx, gives each response an identifier.
        assert "x-request-id" in answer.headers
