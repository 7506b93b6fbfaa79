"""`atoll scan` shows scanners, the queue and images, and fails on severe vulnerabilities."""

from __future__ import annotations

import json
from typing import Any

import pytest
from atoll.exit_codes import VULNERABLE

from .commands import run_command
from .mirror_images import index_of, push_image, put
from .scanning_stack import Stack, scanning_stack
from .sites import MemorySite

__all__ = ["scanning_stack"]

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def stack(scanning_stack: Stack) -> Stack:
    return scanning_stack


def output(site: MemorySite, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert run_command(site, *words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_the_status_has_the_scanners_and_the_queue(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    push_image(stack.us, "app", "v1")
    stack.stopped["eu"]()
    found = output(stack.us, capsys, "scan", "status")
    assert [(one["location"], one["up"]) for one in found["scanners"]] == [
        ("us", True),
        ("eu", False),
    ]
    assert found["images"]["pending"] == 1
    stack.scan_all()
    found = output(stack.us, capsys, "scan", "status")
    assert (found["images"]["pending"], found["images"]["completed"]) == (0, 1)
    assert run_command(stack.us, "scan", "status") == 0
    assert "down" in capsys.readouterr().out


def test_an_image_is_waited_for_and_judged_by_its_worst_vulnerability(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    push_image(stack.us, "app", "v1")
    image = f"{stack.us.repository}:v1"
    assert run_command(stack.us, "scan", "wait", image, "--timeout", "0.1") == 1
    assert "timed out" in capsys.readouterr().err
    stack.scan_all()
    (found,) = output(stack.us, capsys, "scan", "wait", image)
    assert found["status"] == "scanned"
    assert found["counts"]["Critical"] > 0
    assert run_command(stack.us, "scan", "wait", image) == 0
    assert run_command(stack.us, "scan", "wait", image, "--fail-on", "critical") == VULNERABLE
    assert "scanned" in capsys.readouterr().out


def test_an_index_stands_for_the_images_that_it_lists(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    images = {one: push_image(stack.us, one) for one in ("amd64", "arm64")}
    put(stack.us, index_of(images), INDEX_TYPE, "v1")
    found = output(stack.us, capsys, "scan", "status", f"{stack.us.repository}:v1")
    assert {one["digest"] for one in found} == {str(digest) for digest in images.values()}


def test_an_image_is_scanned_again_on_request(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    push_image(stack.us, "app", "v1")
    stack.scan_all()
    assert run_command(stack.us, "scan", "retry", f"{stack.us.repository}:v1") == 0
    assert "scanned again" in capsys.readouterr().out
    claims = stack.scanning.scans.claim(1)
    assert [claim.is_rescan for claim in claims] == [True]


def test_an_unknown_image_is_named(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(stack.us, "scan", "wait", "admin/none:v1") == 1
    assert "there is no image 'admin/none:v1'" in capsys.readouterr().err
