"""Repositories and namespaces of any size are deleted and renamed in bounded statements."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from atoll.audit.log import Entry
from atoll.db.lost_deletions import LostDeletions
from atoll.db.pool import Database
from atoll.db.shared_redis import SharedRedis
from atoll.names import RepositoryName
from atoll.registry.blob_rights import right_cache_key
from atoll.registry.errors import DeletionUnfinished, RepositoryUnknown
from atoll.registry.manifest_cache import manifest_cache_key
from atoll.registry.namespace_deletion import NamespaceDeletion

from .memory_redis import MemoryClient, MemoryRedis
from .sites import make_registry

ROWS = 500
BATCH = 100
ORGANIZATION = "large"
NAME = RepositoryName(ORGANIZATION, "app")
ENTRY = Entry("delete_repo", ORGANIZATION, "app", "admin", None, {})

# A substitute for `statement_timeout`: a statement that touches too many rows is cancelled.
_LIMIT = """
CREATE FUNCTION too_many() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM touched) > 100 THEN
        RAISE EXCEPTION 'canceling statement due to statement timeout' USING ERRCODE = '57014';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER too_many AFTER DELETE ON manifest
REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION too_many();
CREATE TRIGGER too_many AFTER DELETE ON uploadedblob
REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION too_many();
CREATE TRIGGER too_many AFTER DELETE ON manifestpullstatistics
REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION too_many();
CREATE TRIGGER too_many AFTER DELETE ON repository
REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION too_many();
"""

_FILL = """
INSERT INTO "user" (username, organization) VALUES (%(organization)s, true);
INSERT INTO repository (namespace_user_id, name, visibility)
SELECT u.id, name, 'private' FROM "user" u, unnest(%(names)s::text[]) AS name
WHERE u.username = %(organization)s;
INSERT INTO imagestorage (content_checksum, image_size)
SELECT 'sha256:' || lpad(number::text, 64, '0'), 1 FROM generate_series(1, %(rows)s) AS number;
INSERT INTO manifest (repository_id, digest, media_type, manifest_bytes)
SELECT r.id, 'sha256:' || lpad(number::text, 64, '0'), 'type', ''
FROM repository r, generate_series(1, %(rows)s) AS number WHERE r.name = 'app';
INSERT INTO manifestblob (repository_id, manifest_id, blob_id)
SELECT m.repository_id, m.id, s.id
FROM manifest m JOIN imagestorage s ON s.content_checksum = m.digest;
INSERT INTO manifestchild (manifest_id, child_manifest_id)
SELECT m.id, m.id - 1 FROM manifest m WHERE m.id > (SELECT min(id) FROM manifest);
INSERT INTO tag (repository_id, name, manifest_id, lifetime_start_ms)
SELECT m.repository_id, 'tag-' || m.id, m.id, 0 FROM manifest m;
INSERT INTO uploadedblob (repository_id, blob_id, expires_at)
SELECT r.id, s.id, now() FROM repository r, imagestorage s WHERE r.name = 'app';
INSERT INTO manifestpullstatistics
SELECT r.id, number::text, 1, now()
FROM repository r, generate_series(1, %(rows)s) AS number WHERE r.name = 'app'
"""


class Large:
    """An organization with a large repository that is completely cached."""

    def __init__(self, database: Database, names: list[str]) -> None:
        self.database = database
        database.run(_LIMIT)
        database.run(_FILL, {"organization": ORGANIZATION, "names": names, "rows": ROWS})
        self.server = MemoryRedis()
        client = cast(Any, MemoryClient(self.server))
        self.redis = SharedRedis(client, LostDeletions(database))
        self.keys = [
            key(NAME, f"sha256:{number:064d}")
            for number in range(1, ROWS + 1)
            for key in (manifest_cache_key, right_cache_key)
        ]
        for key in self.keys:
            self.redis.fill(key, b"cached")

    def removal(self, **arguments: Any) -> NamespaceDeletion:
        return NamespaceDeletion(self.database, self.redis, batch=BATCH, **arguments)

    def cached(self) -> int:
        return sum(value is not None for value in self.redis.get(*self.keys))

    def count(self, table: str) -> int:
        return int(self.database.read(f'SELECT count(*) FROM "{table}"')[0][0])


@pytest.fixture
def make_large(make_database: Callable[[], str], tmp_path: Path) -> Callable[[list[str]], Large]:
    def make(names: list[str]) -> Large:
        return Large(make_registry(make_database(), tmp_path, ["us"])["us"].database, names)

    return make


def test_a_large_repository_is_deleted_in_bounded_statements(
    make_large: Callable[[list[str]], Large],
) -> None:
    large = make_large(["app"])
    large.removal().delete_repository(NAME, ENTRY)
    assert [large.count(table) for table in ("repository", "manifest", "tag")] == [0, 0, 0]
    assert large.count("logentry") == 1
    assert large.cached() == 0
    with pytest.raises(RepositoryUnknown):
        large.removal().delete_repository(NAME, ENTRY)


def test_a_deletion_that_takes_too_long_is_continued_by_the_next_request(
    make_large: Callable[[list[str]], Large],
) -> None:
    large = make_large(["app"])
    with pytest.raises(DeletionUnfinished):
        large.removal(time_limit=-1).delete_repository(NAME, ENTRY)
    requests = 0
    while large.count("repository"):
        requests += 1
        # Each request has time for two batches.
        ticks = iter([0, 0, 0, *[1] * ROWS])
        with suppress(DeletionUnfinished):
            large.removal(
                time_limit=0.5, monotonic=lambda ticks=ticks: next(ticks)
            ).delete_repository(NAME, ENTRY)
    assert requests == 3
    assert large.count("logentry") == 1
    assert large.cached() == 0


def test_a_large_namespace_is_deleted_in_bounded_statements(
    make_large: Callable[[list[str]], Large],
) -> None:
    large = make_large(["app", *(f"other-{number}" for number in range(2 * BATCH))])
    large.removal().delete_namespace(ORGANIZATION, ENTRY, organization=True)
    assert [large.count(table) for table in ("repository", "manifest", "tag")] == [0, 0, 0]
    assert large.cached() == 0


def test_a_namespace_of_another_kind_is_not_emptied(
    make_large: Callable[[list[str]], Large],
) -> None:
    large = make_large(["app"])
    with pytest.raises(Exception, match="there is no user 'large'"):
        large.removal().delete_namespace(ORGANIZATION, ENTRY, organization=False)
    assert large.count("manifest") == ROWS


def test_cached_values_of_a_large_repository_are_deleted_in_few_round_trips(
    make_large: Callable[[list[str]], Large],
) -> None:
    large = make_large(["app"])
    large.removal().rename_namespace(ORGANIZATION, "renamed", organization=True)
    assert large.cached() == 0
    assert len(large.server.pipelines) <= ROWS / BATCH + 1
