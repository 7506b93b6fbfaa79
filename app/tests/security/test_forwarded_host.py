"""A client cannot choose the host of the URLs that the registry returns."""

from __future__ import annotations

import pytest

from ..image.running import RunningImage


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Host": "evil.example"},
        {"X-Forwarded-Host": "evil.example, registry.test"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"},
        {"Forwarded": "host=evil.example;proto=https"},
        {"X-Original-Host": "evil.example", "X-Host": "evil.example"},
    ],
)
@pytest.mark.parametrize("path", ["/v2/", "/api/v1/user/"])
def test_a_forwarded_host_of_a_client_is_ignored(
    image: RunningImage, path: str, headers: dict[str, str]
) -> None:
    for url in (image.url, image.tls_url):
        answer = image.session().get(f"{url}{path}", headers=headers)
        assert answer.status_code == 401
        assert "evil.example" not in answer.text + str(answer.headers)


def test_an_invalid_host_appears_in_no_url(image: RunningImage) -> None:
    headers = {"Host": 'a"b'}
    answer = image.session().get(f"{image.url}/v2/", headers=headers)
    assert answer.status_code in {400, 401}
    assert 'a"b' not in answer.headers.get("WWW-Authenticate", "")
