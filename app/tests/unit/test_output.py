"""Tables, sizes and prompts of the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from atoll.cli.locations import print_usage
from atoll.cli.mirror_organization import print_organizations
from atoll.cli.output import ask, duration_text, print_table, progress, size_text
from atoll.cli.status import print_status
from atoll.cli.verify import print_counts
from atoll.cluster.instances import Instance
from atoll.errors import UserError
from atoll.mirroring.organizations.organization_status import (
    REPOSITORY_STATUSES,
    OrganizationStatus,
    OrganizationSummary,
)
from atoll.mirroring.status import MirrorSummary
from atoll.placement.checks.verify import Count, Run, Scope
from atoll.placement.locations.usage import LocationUsage
from atoll.placement.status import StatusReport
from atoll.placement.upkeep.lag import Lag

LONG = "storage-of-the-region-eu-central-1-in-frankfurt-am-main-second-building"
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return _STYLE.sub("", capsys.readouterr().out)


@pytest.mark.usefixtures("terminal")
def test_a_table_that_fits_the_terminal_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name", "blobs", "state"], [["us", 5, "active"], ["europe", 1200, "draining"]])
    assert printed(capsys).splitlines() == [
        "NAME    BLOBS  STATE",
        "us          5  active",
        "europe   1200  draining",
    ]


@pytest.mark.usefixtures("terminal")
def test_a_table_that_is_too_wide_prints_names_on_separate_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(["name", "blobs", "state"], [[LONG, 12, "active"], ["us", 5, "draining"]])
    assert printed(capsys).splitlines() == [
        "NAME",
        "  BLOBS  STATE",
        LONG,
        "     12  active",
        "us",
        "      5  draining",
    ]


@pytest.mark.usefixtures("terminal")
def test_a_table_of_long_cells_is_printed_as_blocks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(["name", "source"], [["us", f"{LONG}/objects"]])
    assert printed(capsys).splitlines() == ["NAME:   us", f"SOURCE: {LONG}/objects"]


def test_a_piped_table_is_as_wide_as_its_content(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_table(["name", "state"], [[LONG, "active"]])
    assert printed(capsys).splitlines()[1] == f"{LONG}  active"


def test_a_table_without_rows_prints_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name"], [], empty="There are no policies.")
    assert printed(capsys) == "There are no policies.\n"


def test_brackets_in_a_cell_are_printed_literally(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["error"], [["[Errno 111] refused [bold]"]])
    assert "[Errno 111] refused [bold]" in printed(capsys)


MIRRORS = MirrorSummary(mirrors=1200, active=1100, running=4, due=3, failed=0, overdue=[])

ORGANIZATION = OrganizationStatus(
    organization="platform",
    robot="platform+mirror",
    kind="harbor",
    reference="https://harbor.example.com/platform",
    is_enabled=True,
    visibility="private",
    filters=[],
    interval=3600,
    sync_status="SUCCESS",
    reason=None,
    message="1200 mirrored",
    retries_remaining=3,
    next_at=None,
    started_at=None,
    finished_at=None,
    last_success_at=datetime(2026, 11, 27, tzinfo=UTC),
    seconds_without_success=90.0,
    repositories=dict.fromkeys(REPOSITORY_STATUSES, 171),
)
ORGANIZATIONS = OrganizationSummary([ORGANIZATION])


def overview_of(*names: str) -> StatusReport:
    stores = {name: {"up": name != names[-1], "cause": "refused"} for name in names}
    instance = Instance(
        role="registry",
        hostname="registry-1.example.org",
        version="0.1.0",
        preference=list(names),
        started_at=datetime(2026, 11, 27, tzinfo=UTC),
        seen_seconds_ago=3.2,
        drift=[],
        stores=stores,
        lost=False,
    )
    locations = [Lag(name, "active", 12, 3_500_000, 760.0, 0, None) for name in names]
    return StatusReport([instance], locations, {}, {})


@pytest.mark.usefixtures("terminal")
def test_status_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    found = overview_of("usstorage", "eustorage")
    print_status(found, MIRRORS, ORGANIZATIONS, [])
    assert [line for line in printed(capsys).splitlines() if len(line) > 80] == []


@pytest.mark.usefixtures("terminal")
def test_mirrored_organizations_fit_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_organizations([ORGANIZATION])
    assert [line for line in printed(capsys).splitlines() if len(line) > 80] == []


@pytest.mark.usefixtures("terminal")
def test_status_does_not_truncate_names_of_locations(capsys: pytest.CaptureFixture[str]) -> None:
    found = overview_of("usstorage", LONG)
    print_status(found, MIRRORS, ORGANIZATIONS, found.problems())
    lines = printed(capsys).splitlines()
    assert lines[lines.index(LONG) + 1].split()[:2] == ["active", "down"]


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("name", ["usstorage", LONG])
def test_verify_does_not_truncate_names_of_locations_in_80_columns(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    count = Count(verified=120_000, bytes=3_500_000_000, missing=3)
    print_counts(Run(1, Scope(), 0, counts={name: count}))
    text = printed(capsys)
    assert name in text
    assert [line for line in text.splitlines() if len(line) > 80] == []


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("name", ["usstorage", LONG])
def test_locations_does_not_truncate_names_in_80_columns(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_usage([LocationUsage(name, "draining", 120_000, 0, 0, 1500, 3_500_000, 2)], {name})
    text = printed(capsys)
    assert name in text
    assert [line for line in text.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (3_500_000, "3.3 MiB"), (2**60, "1024.0 PiB")]
)
def test_a_size_is_printed_in_a_fitting_unit(size: int, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59, "59s"), (720, "12m"), (7200, "2h"), (864000, "10d")]
)
def test_a_duration_is_printed_in_its_largest_unit(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_progress_and_prompts_are_written_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress("verifying") as advance:
        advance(1, 2)
    with pytest.raises(UserError, match="--yes"):
        ask("Sure? ")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
