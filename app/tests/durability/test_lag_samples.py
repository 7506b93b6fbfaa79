"""The history of lag: one process samples it, and its cost and size are bounded."""

from __future__ import annotations

import pytest
from atoll.auth import users
from atoll.db.advisory_locks import LAG_SAMPLES, try_lock
from atoll.db.pool import Database
from atoll.placement.locations.remove import Removal
from atoll.placement.locations.states import LocationTable
from atoll.placement.upkeep import lag_samples
from atoll.placement.upkeep.lag import Lag
from atoll.placement.upkeep.lag_samples import LagSamples, Rate
from atoll.storage.states import DRAINING

from .api_client import PASSWORD, ApiClient
from .sites import MemorySite

PATH = "superuser/replication/lag"


def found(location: str = "eu", blobs: int = 3) -> Lag:
    return Lag(location, "active", blobs, 10 * blobs, 1.5, 0, None)


def count(database: Database, table: str = "lagsample") -> int:
    return int(database.read(f"SELECT count(*) FROM {table}")[0][0])


def fill(database: Database, table: str, location: str, seconds: int, rows: int) -> None:
    """Write samples that are SECONDS apart; the blobs of each are its age in seconds."""
    database.run(
        f"INSERT INTO {table} SELECT l.id, now() - make_interval(secs => n * %(seconds)s),"
        " n * %(seconds)s, 10 * n * %(seconds)s, 1 FROM imagestoragelocation l,"
        " generate_series(1, %(rows)s) n WHERE l.name = %(location)s",
        {"seconds": seconds, "rows": rows, "location": location},
    )


def test_one_process_writes_a_sample_of_each_location_when_it_is_due(database: Database) -> None:
    first, second = LagSamples(database), LagSamples(database)
    everything = [found("us", 0), found("eu")]
    assert first.record(everything)
    assert not second.record(everything)
    assert count(database) == 2
    database.run("UPDATE lagsample SET at = at - interval '30 seconds'")
    with database.transaction() as other:
        other.execute(f"SELECT {try_lock(LAG_SAMPLES)}")
        assert not second.record(everything)
    assert second.record(everything)
    assert count(database) == 4


def test_samples_and_their_maxima_are_deleted_after_seven_days_in_batches(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag_samples, "_DELETED", 4)
    for table in ("lagsample", "lagpeak"):
        fill(database, table, "eu", 100_000, 12)
    LagSamples(database).record([])
    # The first six are younger than seven days.
    assert (count(database), count(database, "lagpeak")) == (8, 8)
    LagSamples(database).record([])
    assert (count(database), count(database, "lagpeak")) == (6, 6)


def test_a_removed_location_loses_its_samples_and_gets_no_more(database: Database) -> None:
    samples = LagSamples(database)
    samples.record([found("ap"), found("eu")])
    table = LocationTable(database)
    table.set_state("ap", DRAINING)
    for _step in Removal(table).steps("ap"):
        continue
    database.run("UPDATE lagsample SET at = at - interval '30 seconds'")
    samples.record([found("ap"), found("eu")])
    assert (count(database), count(database, "lagpeak")) == (2, 1)


@pytest.mark.parametrize(
    ("hours", "table", "seconds", "interval"),
    [(1, "lagsample", 30, 12), (6, "lagsample", 30, 72), (24, "lagpeak", 300, 300)],
)
def test_a_curve_has_the_maxima_of_at_most_300_intervals(
    database: Database, hours: int, table: str, seconds: int, interval: int
) -> None:
    fill(database, table, "eu", seconds, 2 * hours * 3600 // seconds)
    curves = LagSamples(database).curves(hours)
    points = curves.points["eu"]
    assert curves.interval_seconds == interval
    assert hours * 3600 / max(interval, seconds) - 2 <= len(points) <= 301
    assert points == sorted(points, key=lambda point: point.at)
    # The oldest point is the greatest, within the period.
    assert hours * 3600 - interval - seconds <= points[0].blobs < hours * 3600
    assert curves.points["us"] == []
    fewer = LagSamples(database).curves(hours, points=50)
    assert len(fewer.points["eu"]) <= 51
    greatest = max(one.blobs for one in fewer.points["eu"])
    assert points[0].blobs - seconds <= greatest <= points[0].blobs


def test_maxima_of_five_minutes_keep_the_greatest_values(database: Database) -> None:
    samples = LagSamples(database)
    for blobs in (5, 7, 2):
        samples.record([found("eu", blobs)])
        database.run("UPDATE lagsample SET at = at - interval '30 seconds'")
        # As if all three were in the same five minutes.
        database.run("UPDATE lagpeak SET at = date_bin('5 minutes', now(), 'epoch')")
    points = samples.curves(168).points["eu"]
    assert [(one.blobs, one.bytes) for one in points] == [(7, 70)]


def test_rates_are_the_decrease_of_the_last_minutes(database: Database) -> None:
    fill(database, "lagsample", "eu", 30, 100)
    fill(database, "lagsample", "ap", 200, 1)
    rates = LagSamples(database).rates()
    assert rates == {"eu": Rate(1.0, 10.0)}


@pytest.mark.parametrize(
    ("rate", "missing", "expected"),
    [
        (Rate(1.0, 10.0), (4, 100), 10.0),
        (Rate(2.0, 0.0), (4, 0), 2.0),
        (Rate(0.0, 0.0), (4, 100), None),
        (Rate(-1.0, -10.0), (4, 100), None),
        (Rate(-1.0, -10.0), (0, 0), 0.0),
    ],
)
def test_remaining_time_is_known_only_while_the_lag_decreases(
    rate: Rate, missing: tuple[int, int], expected: float | None
) -> None:
    assert rate.seconds_left(*missing) == expected


def test_superusers_read_the_curve_of_a_location(site: MemorySite) -> None:
    LagSamples(site.database).record([found("eu"), found("us", 0)])
    client = ApiClient(site)
    body = client.call("GET", PATH, query={"hours": 168, "location": "eu"})
    (curve,) = body["locations"]
    (sample,) = curve["samples"]
    assert (curve["location"], sample["blobs"], sample["bytes"], sample["seconds"]) == (
        "eu",
        3,
        30,
        1.5,
    )
    assert sample["at"].endswith("+00:00")
    assert [one["location"] for one in client.call("GET", PATH)["locations"]] == ["us", "eu", "ap"]
    unknown = client.call("GET", PATH, query={"location": "none"}, status=404)
    assert "there is no location 'none'" in unknown["detail"]
    for hours in (0, 169):
        client.call("GET", PATH, query={"hours": hours}, status=400)


def test_only_superusers_read_curves_and_instances(site: MemorySite) -> None:
    users.create_user(site.database, "bob", None, PASSWORD)
    for name, status in ((None, 401), ("bob", 403)):
        for path in (PATH, "superuser/instances"):
            ApiClient(site, name).call("GET", path, status=status)
