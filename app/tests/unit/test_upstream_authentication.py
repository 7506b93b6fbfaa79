"""Credentials and tokens: obtained once, renewed in time, and sent to no other server."""

from __future__ import annotations

import base64
import ipaddress
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import pytest
from atoll.config.hosts import Address
from atoll.names import Digest
from atoll.outbound.proxies import Proxies
from atoll.upstream.access import Access
from atoll.upstream.client import UpstreamClient
from atoll.upstream.credentials import Credentials
from atoll.upstream.errors import (
    AddressRefused,
    AuthFailed,
    InvalidReference,
    NotARegistry,
    RateLimited,
    ServerFailed,
    UpstreamError,
)
from atoll.upstream.reference import UpstreamReference

from ..upstream import fault_upstream as faults
from ..upstream.certificates import PrivateCa, private_ca
from ..upstream.clients import USER, client, upstreams
from ..upstream.fault_upstream import FaultUpstream, Oddities
from ..upstream.forward_proxy import ForwardProxy

SECRETS = (USER.password, base64.b64encode(f"{USER.username}:{USER.password}".encode()).decode())


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> PrivateCa:
    names = ["127.0.0.1", "localhost", "registry.example", "cdn.example"]
    return private_ca(tmp_path_factory.mktemp("ca"), names)


@pytest.fixture
def upstream(ca: PrivateCa) -> Iterator[FaultUpstream]:
    with FaultUpstream(ca.server_context()).running() as running:
        running.users[USER.username] = USER.password
        running.repository().add_image("latest")
        yield running


def read(one: UpstreamClient) -> list[str]:
    """Read tags and a manifest."""
    assert one.head("latest") is not None
    return one.tags().names


@pytest.mark.parametrize(
    "oddities",
    [
        Oddities(authentication="basic"),
        Oddities(authentication="bearer"),
        Oddities(authentication="bearer", realm="/token"),
        Oddities(authentication="bearer", realm="token?kind=relative"),
        Oddities(authentication="both", token_key="access_token"),
        Oddities(authentication="bearer", announced_seconds=None),
        Oddities(authentication="bearer", extra_scope="repository:library/base:pull"),
        Oddities(authentication="bearer", extra_scope="registry:catalog:*"),
    ],
    ids=[
        "Basic",
        "Bearer",
        "relative realm",
        "realm with query",
        "both, access_token",
        "no lifetime",
        "two repositories",
        "catalog",
    ],
)
def test_challenges_of_registries_are_answered(
    ca: PrivateCa, upstream: FaultUpstream, oddities: Oddities
) -> None:
    upstream.oddities = oddities
    one = client(ca, upstream)
    for _ in range(3):
        assert read(one) == ["latest"]
    # One refused request, and one token.
    assert upstream.count("manifest") + upstream.count("tags") == 7
    assert upstream.count("token") == (0 if oddities.authentication == "basic" else 1)


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials("_json_key", '{"private_key": "-----BEGIN\\n:ü"}'),
        Credentials("AWS", "eyJ" + "a" * 3000),
        Credentials("team+robot", "s"),
    ],
    ids=["Google", "ECR", "robot"],
)
@pytest.mark.parametrize("authentication", ["basic", "bearer"])
def test_credentials_may_have_any_characters(
    ca: PrivateCa, upstream: FaultUpstream, credentials: Credentials, authentication: str
) -> None:
    upstream.users[credentials.username] = credentials.password
    upstream.oddities.authentication = authentication
    assert read(client(ca, upstream, access=Access(credentials))) == ["latest"]


def test_a_token_is_requested_with_all_scopes_and_the_service(
    ca: PrivateCa, upstream: FaultUpstream
) -> None:
    upstream.oddities = Oddities(authentication="bearer", extra_scope="repository:other:pull")
    read(client(ca, upstream))
    (request,) = (one for one in upstream.requests if one.kind == "token")
    query = parse_qs(urlsplit(request.path).query)
    assert query["scope"] == ["repository:team/app:pull", "repository:other:pull"]
    assert query["service"] == ['fault "upstream"']
    assert query["account"] == [USER.username]


def test_anonymous_access_gets_a_token_without_credentials(
    ca: PrivateCa, upstream: FaultUpstream
) -> None:
    upstream.users.clear()
    upstream.oddities.authentication = "bearer"
    assert read(client(ca, upstream, access=Access())) == ["latest"]
    (request,) = (one for one in upstream.requests if one.kind == "token")
    assert "authorization" not in request.headers


def test_ping_verifies_the_credentials(ca: PrivateCa, upstream: FaultUpstream) -> None:
    for authentication in ("basic", "bearer"):
        upstream.oddities.authentication = authentication
        client(ca, upstream).ping()
        with pytest.raises(AuthFailed):
            client(ca, upstream, access=Access(Credentials("mirror", "wrong"))).ping()


@pytest.mark.parametrize("authentication", ["basic", "bearer", "both"])
def test_wrong_credentials_are_sent_once(
    ca: PrivateCa, upstream: FaultUpstream, authentication: str
) -> None:
    upstream.oddities.authentication = authentication
    wrong = client(ca, upstream, access=Access(Credentials("mirror", "wrong")))
    with pytest.raises(AuthFailed) as failed:
        wrong.tags()
    assert failed.value.reason == "auth_failed"
    assert not failed.value.is_temporary
    sent = [one for one in upstream.requests if "authorization" in one.headers]
    assert len(sent) == 1
    with pytest.raises(AuthFailed):
        client(ca, upstream, access=Access()).tags()


def test_a_refusal_with_403_is_a_failed_authentication(
    ca: PrivateCa, upstream: FaultUpstream
) -> None:
    upstream.fail("tags", faults.status(403))
    with pytest.raises(AuthFailed, match="403"):
        client(ca, upstream).tags()


# Lifetime of tokens -------------------------------------------------------------------------


def test_tokens_are_renewed_before_they_expire(ca: PrivateCa, upstream: FaultUpstream) -> None:
    upstream.oddities = Oddities(authentication="bearer", token_seconds=2, announced_seconds=2)
    one = client(ca, upstream)
    end = time.monotonic() + 4
    while time.monotonic() < end:
        read(one)
        time.sleep(0.1)
    # Only the first request was refused.
    refused = [one for one in upstream.requests if one.kind in {"manifest", "tags"}]
    assert sum("authorization" not in one.headers for one in refused) == 1
    assert upstream.count("token") > 1


def test_a_token_that_ends_early_is_renewed_within_a_blob(
    ca: PrivateCa, upstream: FaultUpstream
) -> None:
    upstream.oddities.authentication = "bearer"
    content = bytes(range(256)) * 2000
    blob = Digest.parse(upstream.repository().add_blob(content))
    upstream.fail("blob", faults.truncate(200_000), after=1)
    one = client(ca, upstream)
    pieces = one.blob(blob, len(content)).pieces()
    received = next(pieces)
    upstream.revoke_tokens()
    assert received + b"".join(pieces) == content
    assert upstream.count("token") == 2


def test_a_token_that_is_never_accepted_is_a_failed_authentication(
    ca: PrivateCa, upstream: FaultUpstream
) -> None:
    upstream.oddities = Oddities(authentication="bearer", token_seconds=-1)
    with pytest.raises(AuthFailed):
        client(ca, upstream).tags()
    assert upstream.count("tags") == 2


def test_parallel_requests_share_one_token(ca: PrivateCa, upstream: FaultUpstream) -> None:
    upstream.oddities.authentication = "bearer"
    one = client(ca, upstream)
    read(one)
    upstream.revoke_tokens()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _n: read(one), range(32))) == [["latest"]] * 32
    assert upstream.count("token") == 2


def test_clients_of_one_upstream_share_connections_and_credentials(
    ca: PrivateCa, upstream: FaultUpstream
) -> None:
    upstream.oddities.authentication = "basic"
    upstream.repository("team/other").add_image("latest")
    shared = upstreams(ca)
    for repository in ("team/app", "team/other", "team/app"):
        reference = UpstreamReference.parse(f"{upstream.host}/{repository}")
        read(shared.client(reference, Access(USER)))
    assert upstream.connections == 1
    assert sum("authorization" not in one.headers for one in upstream.requests) == 1
    shared.close()


# Token services that fail -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (faults.status(401), AuthFailed),
        (faults.status(403), AuthFailed),
        (faults.status(404), NotARegistry),
        (faults.status(500), ServerFailed),
        (faults.too_many_requests("9"), RateLimited),
        (faults.replace(lambda _body: b"<html>"), NotARegistry),
        (faults.replace(lambda _body: b"[]"), NotARegistry),
        (faults.replace(lambda _body: b'{"token": 5}'), NotARegistry),
        (faults.replace(lambda _body: b'{"token": "a\\r\\nX: y"}'), NotARegistry),
        (faults.replace(lambda _body: b'{"token": "\xc3\xa4"}'), NotARegistry),
        (faults.endless(), UpstreamError),
    ],
)
def test_a_failing_token_service_is_named(
    ca: PrivateCa, upstream: FaultUpstream, action: faults.Action, kind: type[UpstreamError]
) -> None:
    upstream.oddities.authentication = "bearer"
    upstream.fail("token", action)
    one = client(ca, upstream)
    with pytest.raises(kind):
        one.tags()
    assert one.tags().names == ["latest"]


@pytest.mark.parametrize("value", ["", "Digest realm=x", 'Bearer service="x"', "Negotiate abc=="])
def test_unknown_authentication_is_named(
    ca: PrivateCa, upstream: FaultUpstream, value: str
) -> None:
    upstream.fail("tags", faults.status(401, WWW_Authenticate=value))
    with pytest.raises(NotARegistry, match="unknown kind of authentication"):
        client(ca, upstream).tags()


# Where secrets go ---------------------------------------------------------------------------


@pytest.mark.parametrize("authentication", ["basic", "bearer"])
def test_credentials_do_not_reach_the_server_of_a_redirect(
    ca: PrivateCa, upstream: FaultUpstream, authentication: str
) -> None:
    content = b"x" * 100_000
    with FaultUpstream(ca.server_context()).running() as cdn:
        upstream.oddities = Oddities(authentication=authentication, redirect_blobs=cdn.url)
        blob = Digest.parse(upstream.repository().add_blob(content))
        cdn.repository().add_blob(content)
        cdn.fail("blob", faults.truncate(70_000))
        one = client(ca, upstream)
        assert b"".join(one.blob(blob, len(content)).pieces()) == content
        assert len(cdn.requests) == 2
        assert not any("authorization" in request.headers for request in cdn.requests)
        # A challenge by the other server is not answered, and does not count as a refusal of the
        # account.
        for status in (401, 403):
            challenge = f'Basic realm="x", Bearer realm="{cdn.url}/token"'
            cdn.fail("blob", faults.status(status, WWW_Authenticate=challenge), times=None)
            with pytest.raises(ServerFailed, match="redirected"):
                list(one.blob(blob, len(content)).pieces())
            cdn.recover()
        assert not any("authorization" in request.headers for request in cdn.requests)


class Names:
    """A resolver with fixed answers, which change after each look-up of a name."""

    def __init__(self, **addresses: list[str]) -> None:
        self._addresses = {name.replace("_", "."): found for name, found in addresses.items()}

    def resolve(self, host: str, seconds: float) -> Sequence[Address]:
        del seconds
        with suppress(ValueError):
            return [ipaddress.ip_address(host)]
        found = self._addresses[host]
        return [ipaddress.ip_address(found.pop(0) if len(found) > 1 else found[0])]


@pytest.mark.parametrize(
    "realm",
    [
        "https://127.0.0.2:{port}/token",
        "https://localhost:{port}/token",
        "https://[::ffff:127.0.0.2]:{port}/token",
        "https://metadata.example:{port}/token",
        "https://169.254.169.254/token",
        "https://2130706434:{port}/token",
    ],
)
def test_the_token_service_needs_a_permitted_address(
    ca: PrivateCa, upstream: FaultUpstream, realm: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with FaultUpstream(ca.server_context(), host="127.0.0.2").running() as private:
        port = urlsplit(private.url).port
        upstream.oddities = Oddities(authentication="bearer", realm=realm.format(port=port))
        names = Names(localhost=["127.0.0.2"], metadata_example=["169.254.169.254"])
        reference = UpstreamReference.parse(f"{upstream.host}/team/app")
        one = upstreams(ca, resolver=names).client(reference, Access(USER))
        with pytest.raises((AddressRefused, InvalidReference)) as refused:
            one.tags()
        assert refused.value.reason == "invalid_source_registry"
        # The text for users is neutral; the log is exact.
        assert "SSRF" not in str(refused.value)
        assert "169.254" not in str(refused.value).partition("'")[0]
        assert any("SSRF_ALLOWED_HOSTS" in str(vars(record)) for record in caplog.records)
        assert private.connections == 0


@pytest.mark.parametrize("target", ["https://127.0.0.2:{port}", "http://169.254.169.254"])
def test_the_server_of_a_redirect_needs_a_permitted_address(
    ca: PrivateCa, upstream: FaultUpstream, target: str
) -> None:
    with FaultUpstream(ca.server_context(), host="127.0.0.2").running() as private:
        upstream.oddities.redirect_blobs = target.format(port=urlsplit(private.url).port)
        blob = Digest.parse(upstream.repository().add_blob(b"x"))
        with pytest.raises(AddressRefused):
            list(client(ca, upstream).blob(blob, 1).pieces())
        assert private.connections == 0


def test_a_name_that_changes_between_look_ups_is_refused(
    ca: PrivateCa, upstream: FaultUpstream
) -> None:
    port = urlsplit(upstream.url).port
    names = Names(registry_example=["127.0.0.1", "127.0.0.2"])
    reference = UpstreamReference.parse(f"registry.example:{port}/team/app")
    one = upstreams(ca, resolver=names).client(reference, Access(USER))
    assert read(one) == ["latest"]
    upstream.drop_connections()
    with pytest.raises(AddressRefused):
        read(one)


@pytest.mark.parametrize(
    "host", ["10.1.2.3", "127.0.0.2", "[::1]", "169.254.169.254", "localhost", "x.internal"]
)
def test_an_internal_address_is_refused_without_a_look_up(ca: PrivateCa, host: str) -> None:
    clients = upstreams(ca, resolver=Names())
    internal = UpstreamReference.parse(f"{host}:5000/app")
    proxied = Access(proxies=Proxies.of(https=f"http://{host}:3128"))
    public = UpstreamReference.parse("quay.io/team/app")
    for reference, access in ((internal, Access()), (public, proxied)):
        with pytest.raises((AddressRefused, InvalidReference)) as refused:
            clients.check(reference, access)
        assert refused.value.reason == "invalid_source_registry"
        assert "SSRF" not in str(refused.value)


def test_an_upstream_is_checked_without_a_look_up(ca: PrivateCa) -> None:
    clients = upstreams(ca, resolver=Names())
    clients.check(UpstreamReference.parse("127.0.0.1:5000/app"), Access())
    own = Access(proxies=Proxies.of("http://proxy.example:3128", "http://127.0.0.1:3128"))
    clients.check(UpstreamReference.parse("name.that.does.not.exist/app"), own)
    with pytest.raises(InvalidReference, match="PEM"):
        clients.check(UpstreamReference.parse("quay.io/app"), Access(ca_certificate="x"))


def test_credentials_are_not_sent_to_a_token_service_without_tls(
    ca: PrivateCa, upstream: FaultUpstream
) -> None:
    with FaultUpstream().running() as plain:
        plain.users.update(upstream.users)
        upstream.oddities = Oddities(authentication="bearer", realm=f"{plain.url}/token")
        with pytest.raises(NotARegistry, match="without TLS"):
            client(ca, upstream).tags()
        assert plain.requests == []


def test_an_upstream_is_reached_through_a_proxy_alone(
    ca: PrivateCa, upstream: FaultUpstream
) -> None:
    port = urlsplit(upstream.url).port
    upstream.oddities.authentication = "bearer"
    upstream.oddities.realm = f"https://registry.example:{port}/token"
    proxy = ForwardProxy({"registry.example": "127.0.0.1"})
    with proxy.running():
        access = Access(USER, proxies=Proxies.of(https=f"http://127.0.0.1:{proxy.port}"))
        reference = UpstreamReference.parse(f"registry.example:{port}/team/app")
        one = upstreams(ca, resolver=Names()).client(reference, access)
        assert read(one) == ["latest"]
    assert set(proxy.targets) == {f"registry.example:{port}"}


def test_secrets_appear_in_no_error_and_no_log(
    ca: PrivateCa, upstream: FaultUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.oddities.authentication = "bearer"
    blob = Digest.parse(upstream.repository().add_blob(b"x" * 1000))
    secret_body = b'{"errors": [{"message": "secret body"}]}'
    cases: list[tuple[str, faults.Action, Callable[[UpstreamClient], object]]] = [
        ("token", faults.status(401, X_Secret="secret header"), lambda one: one.tags()),
        ("token", faults.hang_up(), lambda one: one.tags()),
        ("tags", faults.status(500, X_Secret="secret header"), lambda one: one.tags()),
        ("tags", faults.replace(lambda _body: secret_body), lambda one: one.tags()),
        ("manifest", faults.corrupt(), lambda one: one.manifest("latest")),
        ("blob", faults.corrupt(), lambda one: list(one.blob(blob, 1000).pieces())),
        (
            "blob",
            faults.redirect("https://cdn.example:1/x?signature=secret-signature"),
            lambda one: list(one.blob(blob, 1000).pieces()),
        ),
    ]
    for kind, action, call in cases:
        upstream.fail(kind, action, times=None)
        # The first request of these kinds gets a challenge.
        one = client(ca, upstream)
        with pytest.raises(UpstreamError) as failed:
            call(one)
        upstream.recover()
        trace = "".join(map(repr, _chain(failed.value)))
        issued = [*upstream._tokens]
        for secret in (*SECRETS, *issued, "secret header", "secret body", "secret-signature"):
            assert secret not in trace
            assert all(secret not in str(vars(record)) for record in caplog.records)
    assert USER.password not in repr(Access(USER))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
