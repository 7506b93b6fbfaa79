"""`n` and `last` yield a bounded page with a Link to the next one, or 400."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, urlsplit

import falcon
import falcon.testing
from atoll.web.v2.pages import Page
from hypothesis import strategies as st

from .answers import assert_headers
from .fuzzing import fuzz
from .mutation import texts


def check(n: str, last: str, entries: list[str]) -> None:
    query = f"n={quote(n, errors='replace')}&last={quote(last, errors='replace')}"
    req = falcon.testing.create_req(query_string=query)
    try:
        page = Page.from_request(req)
    except falcon.HTTPBadRequest:
        return
    assert page.limit is None or 0 <= page.limit <= 10_000
    assert page.last is None or len(page.last) <= len(last)
    resp = falcon.Response()
    page.link(resp, "/v2/_catalog", entries, more=True)
    assert_headers(resp)
    link = resp.get_header("Link")
    if not entries:
        assert link is None
        return
    assert link is not None
    target, _, rest = link.removeprefix("<").partition(">")
    assert rest == '; rel="next"'
    found = parse_qs(urlsplit(target).query)
    assert found["last"] == [entries[-1]]
    assert int(found["n"][0]) > 0


def test_any_page_request_is_bounded_and_links_to_the_next_page() -> None:
    numbers = texts(st.integers(-5, 10**6).map(str))
    names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
    fuzz(check, numbers, texts(st.just("admin/app")), st.lists(names, max_size=3))
