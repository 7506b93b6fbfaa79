"""The services of the tests: parallel starts after an interrupted run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from .services import LABEL, OWNER, Services, podman_client, remove_leftovers

NO_PROCESS = "4194305-0"


def test_processes_that_start_in_parallel_remove_the_same_leftovers(services: Services) -> None:
    label, _, value = LABEL.partition("=")
    leftovers = [
        services.containers.create(
            "localhost/atoll-redis:dev", ["true"], labels={label: value, OWNER: NO_PROCESS}
        )
        for _ in range(4)
    ]

    def remove(_: int) -> None:
        with podman_client() as client:
            remove_leftovers(client)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(remove, range(3)))
    left = services.containers.list(all=True, filters={"label": LABEL})
    assert not {container.id for container in leftovers} & {container.id for container in left}
