"""What the end of a run deletes, and how it fails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import pytest
from atoll.db.leased_queue import LeaseLost
from atoll.mirroring.copying.tag_switch import TagSwitch
from atoll.mirroring.mirrors import MirrorChange
from atoll.mirroring.outcome import failed
from atoll.mirroring.runs.claims import RunClaim
from atoll.mirroring.runs.endings import FinishedRun
from atoll.mirroring.runs.plans import Plan
from atoll.mirroring.runs.runs import Runs
from atoll.mirroring.runs.tasks import Tasks
from atoll.mirroring.runs.worker import MirrorWorker
from atoll.names import RepositoryName
from atoll.periodic import ThreadRegistry

from .mirrored import make_mirror, mirrors
from .sites import SUPERUSER, MemorySite

ONE = RepositoryName(SUPERUSER, "one")
TWO = RepositoryName(SUPERUSER, "two")
DIGEST = f"sha256:{'a' * 64}"

_ADD = """
WITH manifest AS (
    INSERT INTO manifest (repository_id, digest, media_type, manifest_bytes)
    VALUES (%(id)s, %(digest)s, 'application/vnd.oci.image.manifest.v1+json', '{}')
    ON CONFLICT (repository_id, digest) DO UPDATE SET pushed_at = now() RETURNING id
)
INSERT INTO tag (repository_id, name, manifest_id, lifetime_start_ms)
SELECT %(id)s, name, id, 0 FROM manifest, unnest(%(tags)s) AS name
"""


@pytest.fixture
def runs(site: MemorySite) -> Runs:
    switch = TagSwitch(site.database)
    return Runs(site.database, site.graph.cipher, switch, site="us", instance="worker")


def mirror_with(
    site: MemorySite,
    tags: Iterable[str],
    change: MirrorChange | None = None,
    name: RepositoryName = ONE,
) -> RepositoryName:
    """Create a mirror whose repository has tags."""
    repository = make_mirror(site, name, change)
    site.database.run(_ADD, {"id": repository.id, "digest": DIGEST, "tags": list(tags)})
    return repository


def push_again(site: MemorySite, repository: RepositoryName, tag: str) -> None:
    """Replace a tag, as a push does."""
    site.database.run(
        "UPDATE tag SET lifetime_end_ms = 1 WHERE repository_id = %s AND name = %s",
        [repository.id, tag],
    )
    site.database.run(_ADD, {"id": repository.id, "digest": DIGEST, "tags": [tag]})


def tags(site: MemorySite) -> set[str]:
    return {
        row[0] for row in site.database.read("SELECT name FROM tag WHERE lifetime_end_ms IS NULL")
    }


def claimed(runs: Runs) -> RunClaim:
    found = runs.claims.claim(None, [])
    assert found is not None
    return found[1]


def plan(runs: Runs, *selected: str) -> RunClaim:
    """Plan the run that is due; `new` has to be copied, the other selected tags are unchanged."""
    claim = claimed(runs)
    wanted = dict.fromkeys(selected, DIGEST)
    runs.plans.record(claim, Plan(wanted, frozenset(wanted) - {"new"}))
    return claim


def copy(site: MemorySite, *, together: bool = False) -> None:
    tasks = Tasks(site.database, TagSwitch(site.database))
    found = tasks.claim(None, [])
    assert found is not None
    tasks.complete(found[1], {}, together=together)


def ended(runs: Runs, claim: RunClaim) -> FinishedRun:
    found = runs.endings.finish(claim.run_id)
    assert found is not None
    return found


def reason(site: MemorySite) -> str | None:
    found: str | None = mirrors(site).find(ONE).row["reason"]
    return found


def test_a_run_that_cannot_end_does_not_delay_others(
    site: MemorySite, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = []
    for name in (ONE, TWO):
        mirror_with(site, ["old"], name=name)
        claims.append(plan(runs, "new"))
        copy(site)
    finish = runs.endings.finish

    def finish_second(run_id: int) -> FinishedRun | None:
        if run_id == claims[0].run_id:
            raise RuntimeError("a defect")
        return finish(run_id)

    monkeypatch.setattr(runs.endings, "finish", finish_second)
    nothing = cast("Any", None)
    tasks = Tasks(site.database, TagSwitch(site.database))
    worker = MirrorWorker(
        runs, tasks, nothing, nothing, connect=nothing, registry=ThreadRegistry(), copies=1
    )
    worker.finish_runs()
    assert [mirrors(site).find(name).status for name in (ONE, TWO)] == ["SYNCING", "SUCCESS"]


@pytest.mark.parametrize("together", [False, True])
def test_a_run_whose_repository_changed_its_state_fails_at_its_end(
    site: MemorySite, runs: Runs, together: bool
) -> None:
    mirror_with(site, ["old"], {"options": {"rollback": together}})
    claim = plan(runs, "new")
    copy(site, together=together)
    site.database.run("UPDATE repository SET state = 'READ_ONLY'")
    outcome = ended(runs, claim).outcome
    assert (outcome.status, outcome.reason) == ("FAIL", "robot_not_allowed")
    assert "may not push" in mirrors(site).find(ONE).row["status_message"]
    assert "old" in tags(site)


def test_a_confirmation_is_for_one_run(site: MemorySite, runs: Runs) -> None:
    numbered = [f"v{number}" for number in range(12)]
    mirror_with(site, numbered)

    def confirm() -> None:
        site.database.run(
            "UPDATE repomirrorconfig SET reason = 'too_many_deletions', sync_status = 'FAIL',"
            " next_at = now()"
        )
        mirrors(site).confirm_deletions(ONE)

    confirm()
    mirrors(site).request_cancel(ONE)
    site.database.run("UPDATE repomirrorconfig SET next_at = now()")
    plan(runs)
    assert reason(site) == "too_many_deletions"
    confirm()
    mirrors(site).change(ONE, {"root_rule": ["w*"]})
    plan(runs)
    assert reason(site) == "too_many_deletions"
    confirm()
    runs.endings.fail(claimed(runs), failed("network_timeout", "none", is_temporary=True))
    site.database.run("UPDATE repomirrorconfig SET next_at = now()")
    plan(runs)
    assert reason(site) == "too_many_deletions"
    assert tags(site) == set(numbered)
    confirm()
    # The same settings again are no change.
    mirrors(site).change(ONE, {"root_rule": ["w*"]})
    plan(runs)
    assert (reason(site), tags(site)) == (None, set())


def test_a_run_whose_settings_changed_deletes_nothing_and_the_next_one_begins_at_once(
    site: MemorySite, runs: Runs
) -> None:
    mirror_with(site, ["old", "older"], {"root_rule": ["new"]})
    claim = plan(runs, "new")
    mirrors(site).change(ONE, {"root_rule": ["new", "old"]})
    copy(site)
    assert ended(runs, claim).outcome.status == "SUCCESS"
    assert tags(site) == {"new", "old", "older"}
    following = plan(runs, "new", "old")
    assert following.cause == "schedule"
    copy(site)
    ended(runs, following)
    assert tags(site) == {"new", "old"}
    assert runs.claims.claim(None, []) is None


def test_a_plan_with_earlier_settings_is_discarded(site: MemorySite, runs: Runs) -> None:
    mirror_with(site, ["old"])
    claim = claimed(runs)
    mirrors(site).change(ONE, {"root_rule": ["old"]})
    with pytest.raises(LeaseLost):
        runs.plans.record(claim, Plan({}))
    assert tags(site) == {"old"}
    # As the worker does.
    runs.claims.give_back([claim])
    again = claimed(runs)
    assert (again.run_id, again.row["root_rule"]["rule_value"]) == (claim.run_id, ["old"])


def test_a_changed_schedule_is_no_other_rule(site: MemorySite, runs: Runs) -> None:
    mirror_with(site, ["old"])
    claim = plan(runs, "new")
    mirrors(site).change(ONE, {"sync_interval": 7200})
    copy(site)
    ended(runs, claim)
    assert tags(site) == {"new"}


def test_a_tag_that_is_pushed_during_the_run_is_kept(site: MemorySite, runs: Runs) -> None:
    repository = mirror_with(site, ["old", "pushed"])
    claim = plan(runs, "new")
    push_again(site, repository, "pushed")
    site.database.run(_ADD, {"id": repository.id, "digest": DIGEST, "tags": ["other"]})
    copy(site)
    ended(runs, claim)
    assert tags(site) == {"new", "pushed", "other"}


def test_a_step_of_the_clock_deletes_no_tag(site: MemorySite, runs: Runs) -> None:
    mirror_with(site, ["current"])
    claim = claimed(runs)
    # The clock of PostgreSQL was set back after the run had begun.
    site.database.run("UPDATE mirrorrun SET started_at = now() + interval '1 hour'")
    runs.plans.record(claim, Plan({"current": DIGEST, "new": DIGEST}, frozenset({"current"})))
    copy(site)
    ended(runs, claim)
    assert tags(site) == {"current", "new"}
