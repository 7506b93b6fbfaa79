"""The proxy of a request follows from its scheme and the exceptions."""

from __future__ import annotations

import pytest
from atoll.outbound.destination import parse
from atoll.outbound.errors import InvalidDestination
from atoll.outbound.proxies import Proxies, Proxy


def proxied(no_proxy: str, url: str) -> bool:
    return (
        Proxies.of("proxy.example:3128", "proxy.example:3128", no_proxy).find(parse(url))
        is not None
    )


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("*", "https://registry.example/"),
        ("registry.example", "https://registry.example/"),
        ("other.example, Registry.Example ,", "http://registry.example/"),
        ("example", "https://registry.example/"),
        (".example", "https://registry.example/"),
        ("*.example", "https://registry.example/"),
        ("registry.example:5000", "https://registry.example:5000/"),
        ("10.0.0.0/8", "https://10.1.2.3/"),
        ("10.1.2.3", "https://10.1.2.3:5000/"),
        ("10.1.2.3:5000", "https://10.1.2.3:5000/"),
        ("fd00::/8", "https://[fd00::1]/"),
        ("fd00::1", "https://[fd00::1]/"),
        ("[fd00::1]:443", "https://[fd00::1]/"),
    ],
)
def test_hosts_of_no_proxy_are_reached_directly(no_proxy: str, url: str) -> None:
    assert not proxied(no_proxy, url)


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("", "https://registry.example/"),
        ("ry.example", "https://registry.example/"),
        (".registry.example", "https://registry.example/"),
        ("registry.example:5000", "https://registry.example/"),
        ("10.0.0.0/8", "https://11.1.2.3/"),
        ("10.0.0.0/8", "https://registry.example/"),
        ("fd00::/8", "https://10.1.2.3/"),
        ("[fd00::1]:444", "https://[fd00::1]/"),
    ],
)
def test_other_hosts_are_reached_through_the_proxy(no_proxy: str, url: str) -> None:
    assert proxied(no_proxy, url)


def test_each_scheme_has_its_proxy() -> None:
    found = Proxies.of("http://plain.example:3128", "https://safe.example")
    http, https = found.find(parse("http://x.example/")), found.find(parse("https://x.example/"))
    assert http is not None
    assert http.destination.origin == ("http", "plain.example", 3128)
    assert https is not None
    assert https.destination.origin == ("https", "safe.example", 443)
    assert Proxies.of("http://plain.example:3128").find(parse("https://x.example/")) is None


def test_the_environment_configures_trusted_proxies() -> None:
    found = Proxies.from_environment(
        {"HTTPS_PROXY": "http://a.example:1", "https_proxy": "http://b.example:2", "NO_PROXY": "c"}
    )
    proxy = found.find(parse("https://x.example/"))
    assert proxy is not None
    assert proxy.destination.host == "b.example"
    assert proxy.trusted
    assert found.find(parse("https://c/")) is None
    assert Proxies.from_environment({}) == Proxies()


@pytest.mark.parametrize("url", ["socks5://secret@proxy.example", "http://u:secret@", "http://a b"])
def test_a_malformed_proxy_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidDestination, match="proxy") as refused:
        Proxy.parse(url)
    assert "secret" not in str(refused.value)
