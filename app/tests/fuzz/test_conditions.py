"""If-None-Match leads to 304 only for the digest that it contains, or for `*`."""

from __future__ import annotations

import falcon
import falcon.testing
from atoll.names import Digest
from atoll.web.v2.conditions import is_not_modified
from hypothesis import strategies as st

from .answers import assert_headers
from .fuzzing import fuzz
from .mutation import header_values

DIGEST = Digest.of(b"content")
VALID = st.lists(
    st.sampled_from([f'"{DIGEST}"', f'W/"{DIGEST}"', '"other"', "*"]), min_size=1, max_size=3
).map(", ".join)


def check(header: str) -> None:
    req = falcon.testing.create_req(headers={"If-None-Match": header})
    resp = falcon.Response()
    has = is_not_modified(req, resp, DIGEST)
    assert_headers(resp)
    assert has == (resp.status == falcon.HTTP_NOT_MODIFIED)
    assert not has or str(DIGEST) in header or "*" in header


def test_only_a_matching_condition_leads_to_304() -> None:
    fuzz(check, header_values(VALID))
