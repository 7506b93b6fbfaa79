"""Clients for upstreams, which share connections and tokens within a process."""

from __future__ import annotations

import os
import ssl
import threading
from collections import OrderedDict
from collections.abc import Callable

from atoll.config import Bundle
from atoll.outbound.connection import Limits
from atoll.outbound.destination import parse
from atoll.outbound.policy import DestinationPolicy
from atoll.outbound.proxies import Proxies
from atoll.outbound.resolver import Resolver, SystemResolver
from atoll.outbound.session import SESSION_LIMITS, OutboundSession
from atoll.upstream.access import Access
from atoll.upstream.budget import Budget, Unlimited
from atoll.upstream.client import UpstreamClient
from atoll.upstream.documents import UpstreamDocuments
from atoll.upstream.errors import InvalidReference
from atoll.upstream.exchange import Exchanges, outbound_failures
from atoll.upstream.reference import UpstreamReference
from atoll.upstream.registry_requests import RegistryRequests

# Upstreams whose connections and tokens are kept.
_KEPT = 64


MakeBudget = Callable[[UpstreamReference, Access], Budget]


class Upstreams:
    """Provides clients; thread-safe.

    Clients for the same host with the same access share open connections, tokens and a budget.
    """

    def __init__(
        self,
        policy: DestinationPolicy,
        *,
        ca_bundle: str | None = None,
        proxies: Proxies | None = None,
        resolver: Resolver | None = None,
        make_budget: MakeBudget | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Make the clients of a process.

        Args:
            policy: Decides about every destination.
            ca_bundle: A file of CA certificates; None to use those of the system.
            proxies: The proxies of upstreams without their own.
            resolver: Resolves host names.
            make_budget: Returns the budget of an upstream and account.
            limits: The limits of a request; None for those of a session.
        """
        self._policy = policy
        self._ca_bundle = ca_bundle
        self._proxies = proxies or Proxies()
        self._resolver = resolver or SystemResolver()
        self._make_budget = make_budget or (lambda _reference, _access: Unlimited())
        self._limits = limits or SESSION_LIMITS
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, Access], tuple[OutboundSession, RegistryRequests]] = (
            OrderedDict()
        )

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle,
        ca_bundle: str | None,
        make_budget: MakeBudget | None = None,
        *,
        limits: Limits | None = None,
    ) -> Upstreams:
        """Return clients with the rules of the bundle and the proxies of the environment.

        Args:
            bundle: The bundle, for SSRF_ALLOWED_HOSTS.
            ca_bundle: A file of CA certificates; None to use those of the system.
            make_budget: As for the constructor.
            limits: As for the constructor.

        Raises:
            InvalidDestination: A proxy of the environment is malformed.
        """
        return cls(
            DestinationPolicy.from_bundle(bundle),
            ca_bundle=ca_bundle,
            proxies=Proxies.from_environment(os.environ),
            make_budget=make_budget,
            limits=limits,
        )

    def check(self, reference: UpstreamReference, access: Access) -> None:
        """Check an upstream as far as possible without resolving names and without connecting.

        Args:
            reference: The repository.
            access: How it is reached.

        Raises:
            InvalidReference: The CA certificate is malformed, or an address is not permitted.
            AddressRefused: The host is that of an internal service.
        """
        destinations = [parse(f"https://{reference.host}/")]
        if access.proxies is not None:
            chosen = (access.proxies.http, access.proxies.https)
            destinations += [proxy.destination for proxy in chosen if proxy is not None]
        for destination in destinations:
            with outbound_failures(destination.host):
                self._policy.check(destination)
                self._policy.check_unresolved(destination.host)
        self._tls(access)

    def client(self, reference: UpstreamReference, access: Access) -> UpstreamClient:
        """Return the client for a repository.

        Args:
            reference: The repository.
            access: How it is reached.

        Raises:
            InvalidReference: The CA certificate is malformed.
        """
        return UpstreamClient(self._requests(reference, access), reference.repository)

    def documents(self, reference: UpstreamReference, access: Access) -> UpstreamDocuments:
        """Return the reader of documents of an upstream.

        Args:
            reference: Any repository of the upstream.
            access: How it is reached.

        Raises:
            InvalidReference: The CA certificate is malformed.
        """
        return UpstreamDocuments(self._requests(reference, access))

    def _requests(self, reference: UpstreamReference, access: Access) -> RegistryRequests:
        """Return the requests to an upstream with an account; the latest ones are kept."""
        key = reference.host, access
        closed = None
        with self._lock:
            if key not in self._known:
                self._known[key] = self._open(reference, access)
                if len(self._known) > _KEPT:
                    closed = self._known.popitem(last=False)[1]
            self._known.move_to_end(key)
            _session, requests = self._known[key]
        if closed is not None:
            closed[0].close()
        return requests

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            known, self._known = self._known, OrderedDict()
        for session, _requests in known.values():
            session.close()

    def _open(
        self, reference: UpstreamReference, access: Access
    ) -> tuple[OutboundSession, RegistryRequests]:
        session = OutboundSession(
            self._policy,
            self._tls(access),
            self._resolver,
            limits=self._limits,
            proxies=self._proxies if access.proxies is None else access.proxies,
            secure=access.verify_tls,
        )
        return session, RegistryRequests(
            reference.host,
            Exchanges(session),
            access.credentials,
            self._make_budget(reference, access),
            insecure=not access.verify_tls,
        )

    def _tls(self, access: Access) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._ca_bundle)
        if access.ca_certificate:
            try:
                context.load_verify_locations(cadata=access.ca_certificate)
            except (ssl.SSLError, ValueError, TypeError) as error:
                raise InvalidReference(
                    "the CA certificate of the upstream is not in PEM format"
                ) from error
        if not access.verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
