"""Real faults of stores and sites, each as a context that repairs the fault at its end."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http import HTTPStatus

from botocore.exceptions import BotoCoreError, ClientError
from commands import PODMAN, podman, succeeds, wait_until
from definition import Lab, Store
from site_machine import SiteMachine
from stores import client_of

# The quota of the buckets of the store's user.
_QUOTA = ("--quota-scope=bucket", "--uid=atoll")

Fault = AbstractContextManager[None]


@contextmanager
def _between(do: Callable[[], object], undo: Callable[[], object]) -> Iterator[None]:
    # Also an incomplete fault is repaired, because it would make all later tests fail.
    try:
        do()
        yield
    finally:
        undo()


def killed(store: Store, _site: SiteMachine) -> Fault:
    """Kill the store: connections are refused."""
    start = partial(succeeds, [*PODMAN, "start", store.container])
    return _between(
        partial(podman, "kill", "--signal=KILL", store.container),
        partial(wait_until, "the store is started", start),
    )


def paused(store: Store, _site: SiteMachine) -> Fault:
    """Freeze the store: it accepts connections, and does not respond."""
    return _between(
        partial(podman, "pause", store.container), partial(podman, "unpause", store.container)
    )


def refusing(store: Store, site: SiteMachine) -> Fault:
    """Suspend the user of the store, so that the store rejects its key (403)."""

    def set_refusing(refusing: bool) -> bool:
        # On a busy machine, a gateway may miss the notification by Ceph and keep the user in its
        # cache. The next change notifies it again.
        _administer(store, "user", "suspend" if refusing else "enable", "--uid=atoll")
        return _key_is_refused(site.lab, store) is refusing

    return _between(
        partial(wait_until, "the store rejects its key", partial(set_refusing, True)),
        partial(wait_until, "the store accepts its key", partial(set_refusing, False)),
    )


def full(store: Store, _site: SiteMachine) -> Fault:
    """Limit the quota of the store, so that it serves objects but accepts none."""
    _administer(store, "quota", "set", *_QUOTA, "--max-size=1")
    return _between(
        partial(_administer, store, "quota", "enable", *_QUOTA),
        partial(_administer, store, "quota", "disable", *_QUOTA),
    )


def partitioned(store: Store, site: SiteMachine) -> Fault:
    """Drop all packets between the store and the site only."""
    return _dropped(site, store.address)


StoreFault = Callable[[Store, SiteMachine], Fault]
STORE_FAULTS: tuple[StoreFault, ...] = (killed, paused, refusing, partitioned, full)


def site_paused(_lab: Lab, site: SiteMachine) -> Fault:
    """Freeze the machine of the site."""
    machine = site.site.machine.container
    return _between(partial(podman, "pause", machine), partial(podman, "unpause", machine))


def site_partitioned(lab: Lab, site: SiteMachine) -> Fault:
    """Drop all packets between the site and all other machines; operators can still log in."""
    others = (one.address for one in (*lab.machines, *lab.stores))
    return _dropped(site, *(address for address in others if address != site.address))


SiteFault = Callable[[Lab, SiteMachine], Fault]
SITE_FAULTS: tuple[SiteFault, ...] = (site_paused, site_partitioned)


# The machine forwards packets to its containers, so the hook `forward` is required, too.
def _dropped(site: SiteMachine, *addresses: str) -> Fault:
    chains = "".join(
        f"""
        chain {hook} {{
            type filter hook {hook} priority 0;
            ip saddr {{ {", ".join(addresses)} }} drop
            ip daddr {{ {", ".join(addresses)} }} drop
        }}
        """
        for hook in ("input", "output", "forward")
    )
    return _between(
        partial(site.run, "nft --file -", given=f"table inet fault {{ {chains} }}"),
        partial(site.run, "nft delete table inet fault"),
    )


def _key_is_refused(lab: Lab, store: Store) -> bool | None:
    """Return whether the store rejects its key; None if it does not answer the question."""
    try:
        client_of(lab, store).head_bucket(Bucket=store.bucket)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return True if status == HTTPStatus.FORBIDDEN else None
    except BotoCoreError:
        return None
    return False


def _administer(store: Store, *words: str) -> None:
    podman("exec", store.container, "radosgw-admin", "--name=client.rgw", *words)
