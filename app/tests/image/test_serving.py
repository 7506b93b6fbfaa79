"""What `podman run` of the image serves, and how its bundle says so."""

from __future__ import annotations

import pytest

from .running import RunningImage, push_blob


@pytest.mark.parametrize("scheme", ["url", "tls_url"])
def test_a_blob_goes_in_and_out_over_http_and_over_tls(image: RunningImage, scheme: str) -> None:
    url = getattr(image, scheme)
    session = image.session()
    assert session.get(f"{url}/v2/").status_code == 401
    image.authorize(session, "library/served", url=url)
    data = f"pushed by {scheme}".encode()
    digest = push_blob(session, url, "library/served", data)
    answer = session.get(f"{url}/v2/library/served/blobs/{digest}", allow_redirects=False)
    assert answer.status_code == 307
    # The redirect leads to the store, whose certificate the same authority has signed.
    assert session.get(answer.headers["Location"], headers={"Authorization": None}).content == data
