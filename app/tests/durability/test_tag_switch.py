"""Tags of a mirror change together or not at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from atoll.mirroring.copying.copy_errors import NotAMirror
from atoll.mirroring.copying.tag_switch import ManifestsMissing, TagSwitch
from atoll.names import Digest
from atoll.registry.tag_history import TagHistory

from .mirror_images import ROBOT, bound, push_image, set_state
from .sites import MemorySite


def tags_of(site: MemorySite) -> dict[str, str]:
    history = TagHistory(site.database, site.graph.redis, 86_400)
    return {one.name: one.digest for one in history.list(bound(site), active=True, limit=5000)[0]}


def entries(site: MemorySite, kind: str) -> list[tuple[Any, ...]]:
    return [
        tuple(row)
        for row in site.database.read(
            "SELECT performer, metadata ->> 'tag', metadata ->> 'manifest_digest' FROM logentry"
            " WHERE kind = %s AND metadata ? 'tag' ORDER BY 2",
            [kind],
        )
    ]


def subscribe(site: MemorySite) -> None:
    site.database.run(
        "INSERT INTO repositorynotification (repository_id, event, method, config, event_config)"
        " VALUES (%s, 'repo_push', 'webhook', 'x', '{}')",
        [bound(site).id],
    )


def test_switched_tags_are_logged_and_notified_as_pushes(site: MemorySite) -> None:
    old, new = push_image(site, "old", "a"), push_image(site, "new")
    site.database.run("DELETE FROM logentry")
    subscribe(site)
    set_state(site, "MIRROR")
    wanted = {"a": str(new), "b": str(old), "c": str(new)}
    assert sorted(TagSwitch(site.database).switch(bound(site), wanted, ROBOT)) == ["a", "b", "c"]
    assert tags_of(site) == wanted
    assert entries(site, "push_repo") == [
        (ROBOT, tag, digest) for tag, digest in sorted(wanted.items())
    ]
    delivered = site.database.read("SELECT event_data -> 'updated_tags' FROM notificationdelivery")
    assert [sorted(row[0]) for row in delivered] == [["a", "b", "c"]]


def test_unchanged_tags_are_not_logged(site: MemorySite) -> None:
    digest = str(push_image(site, "one", "a"))
    site.database.run("DELETE FROM logentry")
    set_state(site, "MIRROR")
    assert TagSwitch(site.database).switch(bound(site), {"a": digest}, ROBOT) == []
    assert entries(site, "push_repo") == []


def test_no_tag_changes_if_a_manifest_is_missing(site: MemorySite) -> None:
    old, new = push_image(site, "old", "a"), push_image(site, "new")
    set_state(site, "MIRROR")
    wanted = {"a": str(new), "b": str(Digest.of(b"collected"))}
    with pytest.raises(ManifestsMissing) as raised:
        TagSwitch(site.database).switch(bound(site), wanted, ROBOT)
    assert raised.value.tags == ["b"]
    assert tags_of(site) == {"a": str(old)}


@pytest.mark.parametrize("state", ["NORMAL", "READ_ONLY"])
def test_tags_of_other_repositories_do_not_change(site: MemorySite, state: str) -> None:
    old, new = push_image(site, "old", "a"), push_image(site, "new")
    set_state(site, state)
    switch = TagSwitch(site.database)
    with pytest.raises(NotAMirror):
        switch.switch(bound(site), {"a": str(new)}, ROBOT)
    with pytest.raises(NotAMirror):
        switch.end(bound(site), {"a": 1}, ROBOT)
    assert tags_of(site) == {"a": str(old)}


def test_a_repository_with_a_reused_name_is_not_changed(site: MemorySite) -> None:
    digest = push_image(site, "one", "a")
    set_state(site, "MIRROR")
    other = bound(site).bound(10**6)
    with pytest.raises(NotAMirror):
        TagSwitch(site.database).switch(other, {"b": str(digest)}, ROBOT)


def test_ended_tags_stay_in_the_history(site: MemorySite) -> None:
    digest = push_image(site, "one", "a")
    site.database.run("DELETE FROM logentry")
    set_state(site, "MIRROR")
    rows: dict[str, int] = dict(site.database.read("SELECT name, id FROM tag"))
    assert TagSwitch(site.database).end(bound(site), rows | {"a": -1}, ROBOT) == []
    assert TagSwitch(site.database).end(bound(site), rows, ROBOT) == ["a"]
    assert tags_of(site) == {}
    assert entries(site, "delete_tag") == [(ROBOT, "a", str(digest))]
    history = TagHistory(site.database, site.graph.redis, 86_400)
    assert [one.name for one in history.list(bound(site))[0]] == ["a"]


def test_a_tag_that_would_expire_is_renewed(site: MemorySite) -> None:
    digest = push_image(site, "one", "a")
    site.database.run("UPDATE tag SET expires_ms = 32503680000000")
    set_state(site, "MIRROR")
    assert TagSwitch(site.database).switch(bound(site), {"a": str(digest)}, ROBOT) == ["a"]
    rows = site.database.read("SELECT expires_ms FROM tag WHERE lifetime_end_ms IS NULL")
    assert [row[0] for row in rows] == [None]


def test_an_exception_of_the_caller_undoes_the_switch(site: MemorySite) -> None:
    old, new = push_image(site, "old", "a"), push_image(site, "new")
    set_state(site, "MIRROR")

    def switch_without_lease() -> None:
        with site.database.transaction() as cursor:
            TagSwitch(site.database).switch_in(cursor, bound(site), {"a": str(new)}, ROBOT)
            raise LookupError("the lease was lost")

    with pytest.raises(LookupError):
        switch_without_lease()
    assert tags_of(site) == {"a": str(old)}


@pytest.mark.parametrize("number", [40, 400, 1500])
def test_concurrent_switches_of_many_tags_never_mix(site: MemorySite, number: int) -> None:
    digests = [str(push_image(site, seed)) for seed in ("x", "y")]
    set_state(site, "MIRROR")
    switch, name = TagSwitch(site.database), bound(site)

    def run(turn: int) -> None:
        names = [f"v{tag}" for tag in range(number)]
        if turn % 3:
            names.reverse()
        switch.switch(name, dict.fromkeys(names, digests[turn % 2]), ROBOT)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(8)))
    assert len(tags_of(site)) == number
    assert len(set(tags_of(site).values())) == 1
