"""The bundle's lists of allowed and forbidden hosts and networks."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from atoll.config.hosts import checked_host_rule
from atoll.outbound.destination import parse
from atoll.outbound.errors import DestinationRefused, InvalidDestination
from atoll.outbound.policy import DestinationPolicy, Rules

PUBLIC = "93.184.215.14"


def policy(allowed: tuple[str, ...] = (), forbidden: tuple[str, ...] = ()) -> DestinationPolicy:
    return DestinationPolicy(Rules.of(allowed), Rules.of(forbidden))


def judge(rules: DestinationPolicy, host: str, *addresses: str) -> None:
    rules.check_addresses(host, [ip_address(address) for address in addresses])


@pytest.mark.parametrize("allowed", ["hooks.corp.example", "HOOKS.corp.example.", "10.0.0.0/8"])
def test_a_host_or_its_network_can_be_allowed(allowed: str) -> None:
    with pytest.raises(DestinationRefused, match="SSRF_ALLOWED_HOSTS"):
        judge(policy(), "hooks.corp.example", "10.1.2.3")
    judge(policy((allowed,)), "hooks.corp.example", "10.1.2.3")


def test_a_network_allows_ipv4_mapped_but_no_translated_addresses() -> None:
    rules = policy(("10.0.0.0/8",))
    judge(rules, "x.example", "::ffff:10.1.2.3")
    with pytest.raises(DestinationRefused):
        judge(rules, "x.example", "64:ff9b::10.1.2.3")


def test_allowing_a_host_does_not_allow_others_at_the_same_address() -> None:
    rules = policy(("hooks.corp.example",))
    for host in ("x.hooks.corp.example", "corp.example"):
        with pytest.raises(DestinationRefused):
            judge(rules, host, "10.1.2.3")


def test_a_host_with_one_private_address_is_refused() -> None:
    judge(policy(), "x.example", PUBLIC, "1.1.1.1")
    with pytest.raises(DestinationRefused):
        judge(policy(), "x.example", PUBLIC, "127.0.0.1")


@pytest.mark.parametrize(
    "host", ["localhost", "metadata.google.internal", "printer.local", "kubernetes.default.svc"]
)
def test_a_name_for_internal_services_is_refused_regardless_of_its_address(host: str) -> None:
    with pytest.raises(DestinationRefused):
        judge(policy(), host, PUBLIC)
    judge(policy((host,)), host, PUBLIC)
    judge(policy((f"{PUBLIC}/32",)), host, PUBLIC)


@pytest.mark.parametrize(
    "url",
    [
        "https://internal.example/x",
        "https://INTERNAL.example/x",
        "http://internal.example./",
        "http://internal\u3002example/",
        "http://\uff49nternal.example/",
        "http://93.184.215.14/",
        "http://1572394766/",
        "http://[::ffff:93.184.215.14]/",
        "http://[64:ff9b::93.184.215.14]/",
        "http://xn--bcher-kva.example/",
        "http://B\u00dcCHER.example/",
    ],
)
def test_a_forbidden_host_is_refused_in_any_spelling(url: str) -> None:
    rules = policy(forbidden=("Internal.Example.", "93.184.215.0/24", "b\u00fccher.example"))
    with pytest.raises(InvalidDestination, match="WEBHOOK_HOSTNAME_BLACKLIST"):
        rules.check(parse(url))


def test_a_name_that_resolves_into_a_forbidden_network_is_refused() -> None:
    with pytest.raises(DestinationRefused, match="WEBHOOK_HOSTNAME_BLACKLIST"):
        judge(policy(forbidden=("93.184.215.0/24",)), "x.example", PUBLIC)


def test_forbidden_has_precedence_over_allowed() -> None:
    rules = policy(("10.0.0.0/8", "x.example"), ("10.9.0.0/16",))
    judge(rules, "x.example", "10.1.2.3")
    with pytest.raises(DestinationRefused, match="WEBHOOK_HOSTNAME_BLACKLIST"):
        judge(rules, "x.example", "10.9.2.3")


@pytest.mark.parametrize(
    "entry", ["", "*.example.com", "http://example.com", "example.com:80", "10.0.0.0/33", "a b"]
)
def test_an_entry_other_than_a_host_or_network_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"is not a host name, an address or a network"):
        checked_host_rule(entry)
