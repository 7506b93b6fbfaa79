"""Clients for the upstreams of the tests."""

from __future__ import annotations

from collections.abc import Sequence

from atoll.outbound.connection import Limits
from atoll.outbound.policy import DestinationPolicy, Rules
from atoll.outbound.resolver import Resolver
from atoll.upstream.access import Access
from atoll.upstream.client import UpstreamClient
from atoll.upstream.credentials import Credentials
from atoll.upstream.reference import UpstreamReference
from atoll.upstream.upstreams import MakeBudget, Upstreams

from .certificates import PrivateCa
from .fault_upstream import FaultUpstream

USER = Credentials("mirror", "sesame: 100 %")


def upstreams(
    ca: PrivateCa,
    *,
    allowed: Sequence[str] = ("127.0.0.1",),
    resolver: Resolver | None = None,
    make_budget: MakeBudget | None = None,
    limits: Limits | None = None,
) -> Upstreams:
    return Upstreams(
        DestinationPolicy(Rules.of(allowed)),
        ca_bundle=str(ca.certificate),
        resolver=resolver,
        make_budget=make_budget,
        limits=limits,
    )


def client(
    ca: PrivateCa,
    upstream: FaultUpstream,
    repository: str = "team/app",
    access: Access | None = None,
    *,
    limits: Limits | None = None,
) -> UpstreamClient:
    reference = UpstreamReference.parse(f"{upstream.host}/{repository}")
    return upstreams(ca, limits=limits).client(reference, access or Access(USER))
