"""The calculations of `make bench`: medians, ratios, goals and tables."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from ..benchmark.content import IMAGE_C
from ..benchmark.goals import GOALS, evaluate
from ..benchmark.operations import (
    ATOLL,
    BARE,
    BY_TAG,
    DELAY,
    DOCKER_REGISTRY,
    LIMIT,
    far_name,
    pull_name,
)
from ..benchmark.page import render
from ..benchmark.report import comparisons, goal_rows, site_rows
from ..benchmark.results import Results, Sample, Series, Spread
from ..benchmark.rounds import alternate
from ..benchmark.tables import print_tables

TAG = BY_TAG.name(16)
PUSH_B, PULL_C = "push B", "pull C"


def rates(target: str, *values: float, what: str = TAG, part: str = "manifests") -> list[Sample]:
    """Return a sample with a rate for each round."""
    return [
        Sample(part, what, target, number, {"rate": value, "cpu registry": 0.5})
        for number, value in enumerate(values)
    ]


def times(target: str, what: str, *values: float, part: str = "push") -> list[Sample]:
    return [
        Sample(part, what, target, number, {"seconds": value, "cpu registry": 5.2})
        for number, value in enumerate(values)
    ]


def series(target: str, figure: str = "rate") -> Series:
    return Series("manifests", TAG, target, figure)


@pytest.fixture
def results() -> Results:
    """Three rounds, in the second of which the machine was slow."""
    return Results(
        {"processor": "2 x something"},
        [
            *rates(ATOLL, 1000, 400, 1200),
            *rates(DOCKER_REGISTRY, 100, 50, 100),
            *rates(BARE, 5000, 1000, 3000),
            *times(ATOLL, PUSH_B, 3.0, 4.0),
            *times(DOCKER_REGISTRY, PUSH_B, 6.0, 6.0),
            *times(LIMIT, PUSH_B, 2.5, 2.5),
        ],
    )


def test_ratio_is_the_median_of_the_ratios_within_rounds(results: Results) -> None:
    # The ratio of the medians would be 10 as well, but that to the bare application 0.33.
    assert results.ratio(series(ATOLL), series(DOCKER_REGISTRY)) == Spread(10, 8, 12, 3)
    assert results.ratio(series(ATOLL), series(BARE)) == Spread(0.4, 0.2, 0.4, 3)


def test_ratio_ignores_rounds_that_only_one_target_has(results: Results) -> None:
    results.add(Sample("manifests", TAG, ATOLL, 3, {"rate": 1_000_000}))

    ratio = results.ratio(series(ATOLL), series(DOCKER_REGISTRY))

    assert ratio is not None
    assert ratio.count == 3


def test_ratio_to_nothing_is_none(results: Results) -> None:
    assert results.ratio(series(ATOLL), series("unknown")) is None
    assert results.spread(series(ATOLL, "unknown")) is None


def test_ratio_ignores_rounds_without_progress() -> None:
    stuck = Results({}, [*rates(ATOLL, 10, 20), *rates(BARE, 0, 10)])

    assert stuck.ratio(series(ATOLL), series(BARE)) == Spread(2, 2, 2, 1)


def test_difference_is_taken_within_rounds() -> None:
    pair = Results({}, [*rates(ATOLL, 5, 9, 6), *rates(BARE, 1, 2, 1)])

    assert pair.difference(series(ATOLL), series(BARE)) == Spread(5, 4, 7, 3)


def test_results_survive_a_file(results: Results) -> None:
    assert Results.from_json(results.as_json()) == results


def test_each_target_is_first_as_often_as_the_others() -> None:
    orders = [alternate(["a", "b", "c"], number) for number in range(6)]

    assert [order[0] for order in orders] == ["a", "b", "c"] * 2
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)


def test_goal_compares_in_its_direction() -> None:
    at_least = GOALS[0]
    at_most = replace(at_least, least=False)

    assert at_least.is_met(at_least.bound)
    assert at_least.is_met(at_least.bound + 1)
    assert not at_least.is_met(at_least.bound - 0.1)
    assert at_most.is_met(at_most.bound)
    assert not at_most.is_met(at_most.bound + 0.1)


def test_goal_without_measurement_is_neither_met_nor_missed() -> None:
    assert {outcome.met for outcome in evaluate(Results())} == {"not measured"}


def test_goals_are_evaluated_from_ratios(results: Results) -> None:
    found = {(title, text): (now, met) for title, text, _, now, met in goal_rows(results)}

    assert found["manifest by tag", "at least 12 x docker-registry"] == ("10.0", "no")
    assert found["manifest by tag", "at least 0.35 x bare"] == ("0.40", "yes")
    assert found["push B", "at most 1.25 x limit"] == ("1.40", "no")


def test_faster_pull_than_docker_registry_meets_its_goal() -> None:
    fast = [*times(ATOLL, PULL_C, 0.5), *times(DOCKER_REGISTRY, PULL_C, 0.6)]
    slow = [*times(ATOLL, PULL_C, 0.6), *times(DOCKER_REGISTRY, PULL_C, 0.5)]

    assert outcome("pull C", fast) == ("1.20", "yes")
    assert outcome("pull C", slow) == ("0.83", "no")


def test_goal_of_distant_pulls_is_that_with_the_tag_cache() -> None:
    samples = [
        *times(ATOLL, far_name(PULL_C, DELAY), 1.05, part="far"),
        *times(ATOLL, far_name(PULL_C, 0), 1.0, part="far"),
        *times(ATOLL, far_name(PULL_C, DELAY, tag_cache=False), 1.4, part="far"),
        *times(ATOLL, far_name(PULL_C, 0, tag_cache=False), 1.0, part="far"),
    ]

    title = "pull C at 80 ms, over 0 ms, with FEATURE_TAG_CACHE"
    assert outcome(title, samples) == ("0.05", "yes")
    rows = {what: median for what, median, _ in site_rows(Results({}, samples))}
    assert rows["pull C, database 80 ms away, without FEATURE_TAG_CACHE"] == "1.40 s"


def test_tokens_are_related_to_the_bare_application() -> None:
    # As recorded before, on a machine that is twice as fast.
    samples = [
        *rates(ATOLL, 2 * 1064, what="GET token, password, 16", part="tokens"),
        *rates(BARE, 2 * 10_760, part="tokens"),
    ]

    assert outcome("token, password", samples) == ("1.00", "no")


def test_processor_time_of_a_push_is_related_to_that_of_the_hash() -> None:
    # As recorded before, on a machine that is half as fast.
    atoll = Sample("push", PUSH_B, ATOLL, 0, {"seconds": 1, "cpu registry": 10.4})
    limit = Sample("push", PUSH_B, LIMIT, 0, {"seconds": 1, "cpu sha256sum": 4.02})

    assert outcome("CPU per pushed GB, B", [atoll, limit]) == ("1.00", "no")


def outcome(title: str, samples: list[Sample]) -> tuple[str, str]:
    """Return the figure and the verdict of a goal."""
    [found] = [row for row in goal_rows(Results({}, samples)) if row[0] == title]
    return found[3], found[4]


def test_rows_show_how_many_times_as_fast_atoll_is(results: Results) -> None:
    [tag] = comparisons(results, "manifests")
    [push] = comparisons(results, "push")

    assert (tag.atoll, tag.docker_registry, tag.bare) == ("1,000/s", "10.0", "0.40")
    assert tag.processor == "0.50 ms"
    assert (push.atoll, push.docker_registry, push.limit) == ("3.50 s", "1.75", "1.40")
    assert push.processor == "5.2 s/GB"


def test_operations_of_others_have_no_row() -> None:
    assert comparisons(Results({}, rates(BARE, 100)), "manifests") == []


def test_memory_and_start_are_shown_with_their_range() -> None:
    site = Results(
        {},
        [
            *(Sample("memory", "memory idle", ATOLL, n, {"MiB": 270 + n}) for n in range(3)),
            *times(ATOLL, "start to the first 200", 0.9, 1.1, part="start"),
        ],
    )

    assert site_rows(site) == [
        ("start to the first 200", "1.00 s", "0.90 to 1.10"),
        ("memory idle", "271 MiB", "270 to 272"),
    ]


def test_printed_tables_fit_into_80_columns(results: Results) -> None:
    for delay in (0.0, DELAY):
        name = far_name(pull_name(IMAGE_C), delay)
        results.add(Sample("far", name, ATOLL, 0, {"seconds": 0.4 + delay}))
    output = io.StringIO()

    print_tables(results, Console(file=output, width=80))

    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("GET manifest by tag, 16" in line and "10.0" in line for line in lines)
    assert any(line.split()[-1:] == ["met"] for line in lines)
    assert "…" not in output.getvalue()


def test_no_ratios_are_printed_if_nothing_was_compared() -> None:
    site = Results({}, [Sample("memory", "memory idle", ATOLL, 0, {"MiB": 270})])
    output = io.StringIO()

    print_tables(site, Console(file=output, width=80))

    assert "Ratios" not in output.getvalue()
    assert "270 MiB" in output.getvalue()


def test_page_shows_the_limit_with_both_programs_for_the_hash(results: Results) -> None:
    figures = {"put": 2.0, "sha256sum": 1.0, "fast sha256sum": 0.5}
    fast = {"seconds with fast sha256sum": 2.5}
    results.add(Sample("push", "push C", LIMIT, 0, figures | fast))
    results.add(Sample("push", "push C", ATOLL, 0, {"seconds": 5.0}))

    assert "| push C | 2.00 | 1.00 | 0.50 | 2.00 |" in render(results)


def test_page_has_the_machine_and_every_goal(results: Results) -> None:
    page = render(results)

    assert "| processor | 2 x something |" in page
    for goal in GOALS:
        assert f"| {goal.title} | {goal.text} |" in page
    assert all(len(line) <= 100 for line in page.splitlines() if not line.startswith("|"))
