"""Removal requires a drained location, unless its store is lost."""

from __future__ import annotations

import pytest
from atoll.placement.locations.errors import ChangeRefused, LossNotAccepted
from atoll.placement.locations.remove import Removal
from atoll.placement.locations.states import LocationTable

from .commands import run_command, run_removelocation
from .many_blobs import place_blobs
from .sites import MemoryRegistry

LOCATIONS = ["us", "eu", "ap"]


@pytest.fixture(params=["active", "read-only"])
def state(registry: MemoryRegistry, request: pytest.FixtureRequest) -> str:
    """The state of us, whose blobs are all at eu, too."""
    database = registry["us"].database
    registry["eu"].push(b"the repository exists")
    place_blobs(database, 10, ["us", "eu"])
    LocationTable(database).set_state("us", request.param)
    return str(request.param)


@pytest.mark.parametrize("words", [["--yes"], ["--dry-run"]], ids=["remove", "dry run"])
def test_removal_is_refused_before_a_drain(
    registry: MemoryRegistry, state: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(registry["eu"], "remove-location", "us", *words) == 1
    error = capsys.readouterr().err
    assert f"'us' is {state}, and only a drained location can be removed" in error
    assert "atoll drain us --wait" in error
    assert LocationTable(registry["eu"].database).states()["us"] == state


def test_quays_command_is_refused_before_a_drain(
    registry: MemoryRegistry, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_removelocation(registry["eu"], "us") == 1
    error = capsys.readouterr().err
    assert f"Error removing storage location: 'us' is {state}" in error
    assert "atoll drain us --wait" in error
    assert LocationTable(registry["eu"].database).states()["us"] == state


def test_quays_command_removes_a_drained_location(
    registry: MemoryRegistry, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    del state
    LocationTable(registry["eu"].database).set_draining("us", LOCATIONS)
    assert run_removelocation(registry["eu"], "us") == 0
    out = capsys.readouterr().out
    assert out.endswith("Deleted location us\n")
    assert out.count("Deleted placement ") == 10


def test_removal_is_refused_after_reactivation(registry: MemoryRegistry, state: str) -> None:
    database = registry["eu"].database
    LocationTable(database).set_draining("us", LOCATIONS)
    assert Removal(LocationTable(database)).check("us") == 10
    LocationTable(database).set_state("us", state)
    with pytest.raises(ChangeRefused, match=f"'us' is {state}"):
        next(Removal(LocationTable(database)).steps("us"))


def test_refused_removal_of_a_lost_store_does_not_change_the_state(
    registry: MemoryRegistry, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = registry["eu"]
    with pytest.raises(LossNotAccepted):
        next(Removal(LocationTable(site.database)).steps("us", accepted_loss=3))
    assert LocationTable(site.database).states()["us"] == state
    words = ("remove-location", "us", "--lost", "--accept-loss")
    assert run_command(site, *words, "3") == 1
    assert "0 blobs would be lost with 'us', not 3" in capsys.readouterr().err
    assert run_command(site, *words, "0") == 0
    assert "us" not in LocationTable(site.database).states()


def test_activation_during_a_removal_is_refused_until_an_undo(
    registry: MemoryRegistry, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    del state
    database = registry["eu"].database
    LocationTable(database).set_draining("us", LOCATIONS)
    next(Removal(LocationTable(database)).steps("us"))
    assert run_command(registry["eu"], "activate", "us") == 1
    assert "atoll remove-location us --undo" in capsys.readouterr().err
    assert run_command(registry["eu"], "remove-location", "us", "--undo") == 0
    assert run_command(registry["eu"], "activate", "us") == 0
    assert LocationTable(database).states()["us"] == "active"
