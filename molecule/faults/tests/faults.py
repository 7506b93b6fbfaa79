"""What can happen to a store or a site, done with the real thing, and undone again at the end."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http import HTTPStatus

from botocore.exceptions import ClientError
from commands import PODMAN, podman, succeeds, wait_until
from definition import Lab, Store
from site_machine import SiteMachine
from stores import client_of

# The store's quota for each bucket of its one user.
_QUOTA = ("--quota-scope=bucket", "--uid=atoll")

Fault = AbstractContextManager[None]


@contextmanager
def _between(do: Callable[[], object], undo: Callable[[], object]) -> Iterator[None]:
    do()
    try:
        yield
    finally:
        undo()


def killed(store: Store, _site: SiteMachine) -> Fault:
    """Kill the store: connections are refused."""
    start = partial(succeeds, [*PODMAN, "start", store.container])
    return _between(
        partial(podman, "kill", "--signal=KILL", store.container),
        partial(wait_until, "the store is started again", start),
    )


def paused(store: Store, _site: SiteMachine) -> Fault:
    """Stop the store's time: connections are taken, and nothing is answered."""
    return _between(
        partial(podman, "pause", store.container), partial(podman, "unpause", store.container)
    )


def refusing(store: Store, site: SiteMachine) -> Fault:
    """Suspend the store's user, so that the store refuses its key (403)."""

    def set_refusing(refusing: bool) -> bool:
        # A gateway that misses Ceph's notification, as on a busy machine, keeps the user in its
        # cache: the next change notifies it again.
        _administer(store, "user", "suspend" if refusing else "enable", "--uid=atoll")
        return _refuses(site.lab, store) is refusing

    return _between(
        partial(wait_until, "the store refuses its key", partial(set_refusing, True)),
        partial(wait_until, "the store accepts its key", partial(set_refusing, False)),
    )


def full(store: Store, _site: SiteMachine) -> Fault:
    """Let the store have no room for more; what it has it still serves."""
    _administer(store, "quota", "set", *_QUOTA, "--max-size=1")
    return _between(
        partial(_administer, store, "quota", "enable", *_QUOTA),
        partial(_administer, store, "quota", "disable", *_QUOTA),
    )


def partitioned(store: Store, site: SiteMachine) -> Fault:
    """Drop every packet between the store and the site; others reach both."""
    return _dropped(site, store.address)


StoreFault = Callable[[Store, SiteMachine], Fault]
STORE_FAULTS: tuple[StoreFault, ...] = (killed, paused, refusing, partitioned, full)


def site_paused(_lab: Lab, site: SiteMachine) -> Fault:
    """Stop the time of the site's machine."""
    machine = site.site.machine.container
    return _between(partial(podman, "pause", machine), partial(podman, "unpause", machine))


def site_partitioned(lab: Lab, site: SiteMachine) -> Fault:
    """Drop every packet between the site's machine and all others; its operator can log in."""
    others = (one.address for one in (*lab.machines, *lab.stores))
    return _dropped(site, *(address for address in others if address != site.address))


SiteFault = Callable[[Lab, SiteMachine], Fault]
SITE_FAULTS: tuple[SiteFault, ...] = (site_paused, site_partitioned)


# The site's containers are behind its machine's own network, which forwards.
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


def _refuses(lab: Lab, store: Store) -> bool:
    try:
        client_of(lab, store).head_bucket(Bucket=store.bucket)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.FORBIDDEN
    return False


def _administer(store: Store, *words: str) -> None:
    podman("exec", store.container, "radosgw-admin", "--name=client.rgw", *words)
