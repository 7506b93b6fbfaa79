"""Mirrors are lent blobs of their own repository and of public ones, whatever their robot reads."""

from __future__ import annotations

import pytest
from atoll.names import RepositoryName

from .mirrored import ROBOT, make_mirror
from .sites import SUPERUSER, MemoryRegistry

CONTENT = b"a layer"
_PERMIT = """
INSERT INTO repositorypermission (repository_id, user_id, role)
SELECT r.id, u.id, 'read' FROM repository r, "user" u WHERE r.name = 'app' AND u.username = %s
"""


@pytest.mark.parametrize(("visibility", "is_lent"), [("private", False), ("public", True)])
def test_a_blob_of_a_private_repository_that_the_robot_reads_is_not_lent(
    registry: MemoryRegistry, visibility: str, *, is_lent: bool
) -> None:
    site = registry["us"]
    digest = str(site.push(CONTENT))
    name = make_mirror(site, RepositoryName(SUPERUSER, "copy"))
    site.database.run("UPDATE repository SET visibility = %s WHERE name = 'app'", [visibility])
    site.database.run(_PERMIT, [ROBOT])
    expected = {digest: len(CONTENT)} if is_lent else {}
    for _ in range(2):
        assert site.graph.blob_mounts.mount_public(name, [digest]) == expected


def test_a_mirror_is_lent_what_it_has(registry: MemoryRegistry) -> None:
    site = registry["us"]
    digest = str(site.push(CONTENT))
    name = make_mirror(site, site.repository)
    assert site.graph.blob_mounts.mount_public(name, [digest]) == {digest: len(CONTENT)}
