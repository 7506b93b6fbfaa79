"""The tests' own services: several processes start at once, after a run that was cut off."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from .services import LABEL, OWNER, Services, podman_client, remove_remains

NO_PROCESS = "4194305-0"


def test_processes_that_start_at_once_clear_the_same_remains_away(services: Services) -> None:
    label, _, value = LABEL.partition("=")
    remains = [
        services.containers.create(
            "localhost/atoll-redis:dev", ["true"], labels={label: value, OWNER: NO_PROCESS}
        )
        for _ in range(4)
    ]

    def clear_away(_: int) -> None:
        with podman_client() as client:
            remove_remains(client)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(clear_away, range(3)))
    left = services.containers.list(all=True, filters={"label": LABEL})
    assert not {container.id for container in remains} & {container.id for container in left}
