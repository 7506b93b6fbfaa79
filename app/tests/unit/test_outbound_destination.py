"""URLs of users are reduced to one canonical form, or refused."""

from __future__ import annotations

import pytest
from atoll.outbound.destination import parse
from atoll.outbound.errors import InvalidDestination
from hypothesis import given
from hypothesis import strategies as st

DOT_OF_IDEOGRAPHS = "\u3002"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "//example.com/",
        "http://",
        "http:///path",
        "http://[::1/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com:1\u0661/",
        "http://user:word@example.com/",
        "http://@example.com/",
        "http://example.com/a b",
        "http://example.com/\r\nX: y",
        "http://example.com/\tx",
        "http://example.com\\@127.0.0.1/",
        "http://exa\u2100mple.com/",
        "http://example..com/",
        "http://-example.com/",
        "http://999.1/",
        "http://1.2.3.4.5/",
        "http://[fe80::1%25eth0]/",
        "http://exa%6dple.com/",
        "http://" + "a" * 64 + ".com/",
        "http://" + "ab." * 90 + "com/",
        "http://\ud800.com/",
        "http://example.com/\ud800",
    ],
)
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidDestination, match="url must be"):
        parse(url)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("http://Example.COM", "http://example.com/"),
        ("HTTPS://example.com.:443/x", "https://example.com/x"),
        ("http://example.com:8080?a=1", "http://example.com:8080/?a=1"),
        ("http://b\u00fccher.example/\u00fc", "http://xn--bcher-kva.example/%C3%BC"),
        ("http://example\u3002com/?q=\u00e4#part", "http://example.com/?q=%C3%A4"),
        ("http://example.com/%zz%41%", "http://example.com/%25zz%41%25"),
        ('http://example.com/"<>{}|^`', "http://example.com/%22%3C%3E%7B%7D%7C%5E%60"),
        ("http://my_receiver/x;y=z", "http://my_receiver/x;y=z"),
        ("http://[2001:DB8:0::1]:81/", "http://[2001:db8::1]:81/"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
    ],
)
def test_a_url_has_one_canonical_form(url: str, canonical: str) -> None:
    assert parse(url).url == canonical
    assert parse(canonical).url == canonical


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_any_text_is_refused_or_yields_a_safe_request_line(
    host: str, path: str, query: str
) -> None:
    try:
        destination = parse(f"http://{host}/{path}?{query}")
    except InvalidDestination:
        return
    for text in (destination.target, destination.host_header):
        assert text.isascii()
        assert text.isprintable()
        assert " " not in text
