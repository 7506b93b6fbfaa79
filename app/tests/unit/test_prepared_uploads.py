"""A prepared upload goes to one request, of its user and for its repository, while it is fresh."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

from atoll.names import NO_REPOSITORY, RepositoryName
from atoll.registry.prepared_uploads import LIFE_SECONDS, MAXIMUM, PreparedUploads
from hypothesis import given
from hypothesis import strategies as st

from .clock import Clock

APP = RepositoryName("acme", "app")
BOUND = APP.bound(1)
NAMES = st.sampled_from([APP, APP.bound(NO_REPOSITORY), APP.bound(2), APP.bound(3)])
USERS = st.sampled_from(["alice", "bob", None])


@dataclass(frozen=True)
class Take:
    name: RepositoryName
    user: str | None


@dataclass(frozen=True)
class End:
    name: RepositoryName
    user: str | None
    placed: bool


@dataclass(frozen=True)
class Wait:
    seconds: float


STEPS = st.lists(
    st.builds(Take, NAMES, USERS)
    | st.builds(End, NAMES, USERS, st.booleans())
    | st.builds(Wait, st.sampled_from([1, LIFE_SECONDS]))
)


@given(STEPS)
def test_each_upload_is_either_taken_once_in_time_or_deleted(steps: list[object]) -> None:
    clock = Clock()
    uploads = PreparedUploads(clock)
    recorded: dict[UUID, tuple[int | None, str | None, float]] = {}
    taken: list[UUID] = []
    deleted: list[UUID] = []
    for step in steps:
        if isinstance(step, Wait):
            clock.now += step.seconds
        elif isinstance(step, Take):
            if upload := uploads.take(step.name, step.user):
                repository_id, user, recorded_at = recorded[upload.uuid]
                assert (repository_id, user) == (step.name.id, step.user)
                assert repository_id in {2, 3}
                assert clock.now - recorded_at < LIFE_SECONDS
                taken.append(upload.uuid)
        elif isinstance(step, End):
            preparation = uploads.preparation(step.name, step.user)
            deleted += preparation.unused
            if step.placed and preparation.uuid:
                uploads.keep(step.name, step.user, preparation.uuid, ())
                recorded[preparation.uuid] = (step.name.id, step.user, clock.now)
    clock.now += LIFE_SECONDS
    deleted += uploads.preparation(APP, None).unused
    assert sorted([*taken, *deleted]) == sorted(recorded)


def test_an_upload_has_the_excluded_locations_that_were_recorded_with_it() -> None:
    uploads = PreparedUploads(Clock())
    uploads.keep(BOUND, "alice", uuid4(), ("eu",))
    upload = uploads.take(BOUND, "alice")
    assert upload is not None
    assert upload.excluded == ("eu",)


def test_of_too_many_uploads_the_oldest_is_deleted() -> None:
    uploads = PreparedUploads(Clock())
    oldest, *others = (uuid4() for _ in range(MAXIMUM + 1))
    for number, uuid in enumerate([oldest, *others]):
        uploads.keep(APP.bound(number + 1), "alice", uuid, ())
    assert uploads.take(APP.bound(1), "alice") is None
    assert uploads.preparation(BOUND, "alice").unused == [oldest]
    assert uploads.take(APP.bound(MAXIMUM + 1), "alice") is not None


def test_an_upload_that_another_request_recorded_meanwhile_is_replaced() -> None:
    uploads = PreparedUploads(Clock())
    first, second = (uploads.preparation(BOUND, "alice").uuid for _ in range(2))
    assert first is not None
    assert second is not None
    uploads.keep(BOUND, "alice", first, ())
    uploads.keep(BOUND, "alice", second, ())
    upload = uploads.take(BOUND, "alice")
    assert upload is not None
    assert upload.uuid == second
    assert uploads.preparation(BOUND, "alice").unused == [first]
