"""The process of a mirror worker is killed at random moments of a run, which ends whole."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from atoll.names import Digest
from atoll.server.maintenance import abort_abandoned_parts
from atoll.storage.base import blob_key

from ..upstream.certificates import PrivateCa
from ..upstream.content import UpstreamRepository, layer
from ..upstream.fault_upstream import FaultUpstream, Oddities
from .mirror_worker import MirrorWorkerSite, worker_site
from .mirrored import last_run, make_mirror, mirrors

MEBIBYTE = 2**20
# Bytes of the large blob for each kill, the most that one upstream sends in a second, and what a
# kill may cost: the part that is received, those that are written, and those since the last
# checkpoint, all of 8 MiB.
_PER_KILL, _SPEED, _LOST = 16 * MEBIBYTE, 32 * MEBIBYTE, 6 * 8 * MEBIBYTE
# Longer than any wait that can succeed.
_PATIENCE = 120.0


@pytest.fixture
def upstream(ca: PrivateCa) -> Iterator[FaultUpstream]:
    oddities = Oddities(bytes_per_second=_SPEED)
    with FaultUpstream(ca.server_context(), oddities).running() as running:
        yield running


@pytest.fixture
def worker(
    make_database: Callable[[], str], tmp_path: Path, ca: PrivateCa
) -> Iterator[MirrorWorkerSite]:
    made = worker_site(make_database(), tmp_path, ca.certificate)
    yield made
    made.stop()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.long)])
def test_a_run_ends_whole_after_kills_of_its_worker(
    worker: MirrorWorkerSite, upstream: FaultUpstream, kills: int
) -> None:
    site, chance = worker.site, random.Random(kills)
    there = upstream.repository()
    large = chance.randbytes(MEBIBYTE) * (kills * _PER_KILL // MEBIBYTE)
    digests = {
        "large": there.add_image("large", layers=[large, layer(1)]),
        **{
            f"v{number}": there.add_image(f"v{number}", layers=[layer(number, 100_000)])
            for number in range(2 * kills)
        },
    }
    change = {"external_reference": f"{upstream.host}/team/app"}
    make_mirror(site, site.repository, change)  # type: ignore[arg-type]
    site.database.run("UPDATE repomirrorconfig SET requested_at = now(), sync_status = 'SYNC_NOW'")
    for _ in range(kills):
        before, requests = upstream.sent, len(upstream.requests)
        worker.start()
        moment = before + chance.randrange(_PER_KILL)
        until(
            lambda moment=moment, requests=requests: (  # type: ignore[misc]
                upstream.sent >= moment and len(upstream.requests) > requests
            )
        )
        assert not is_over(worker)
        worker.kill()
    worker.start()
    until(lambda: is_over(worker))
    worker.stop()
    mirror = mirrors(site).find(site.repository)
    assert (mirror.status, mirror.row["retries_remaining"]) == ("SUCCESS", 3)
    assert last_run(site, mirror.repository).tags_failed == 0
    assert tags(worker) == digests
    assert_whole(worker, there)
    assert upstream.sent - sum(map(len, there.blobs.values())) < kills * _LOST


def is_over(worker: MirrorWorkerSite) -> bool:
    assert worker.process is not None
    assert worker.process.poll() is None, (worker.directory / "log").read_text()
    rows = worker.site.database.read("SELECT sync_status FROM repomirrorconfig")
    return bool(rows[0][0] not in {"SYNC_NOW", "SYNCING"})


def tags(worker: MirrorWorkerSite) -> dict[str, str]:
    rows = worker.site.database.read(
        "SELECT t.name, m.digest FROM tag t JOIN manifest m ON m.id = t.manifest_id"
        " WHERE t.lifetime_end_ms IS NULL"
    )
    return dict(rows)


def assert_whole(worker: MirrorWorkerSite, there: UpstreamRepository) -> None:
    """Check the bytes of all blobs, and that nothing is left over."""
    store = worker.directory / "store"
    for digest in there.blobs:
        content = (store / blob_key(Digest.parse(digest))).read_bytes()
        assert Digest.of(content) == Digest.parse(digest)
    placed = worker.site.database.read(
        "SELECT count(*) FROM imagestorage s"
        " JOIN imagestorageplacement p ON p.storage_id = s.id AND p.state = 'good'"
    )
    assert placed == [[len(there.blobs)]]
    unfinished = store / ".unfinished"
    # What a kill within a small blob leaves.
    (unfinished / "0.file").touch()
    for path in unfinished.iterdir():
        os.utime(path, (0, 0))
    worker.site.database.run("UPDATE mirrorblob SET changed_at = '-infinity'")
    abort_abandoned_parts(worker.site.graph)
    assert list(unfinished.iterdir()) == []
    assert worker.site.database.read("SELECT digest FROM mirrorblob") == []
