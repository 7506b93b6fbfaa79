"""`atoll mirror import` creates mirrors, and changes neither mirrors nor tags that exist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from atoll.names import Digest, RepositoryName

from .commands import run_command
from .mirrored import make_mirror
from .sites import MANIFEST_TYPE, SUPERUSER, MemorySite, image_manifest

FILE = """
registry.example.com:
  images:
    team/app: ["1.0"]
    other: []
    broken: ["no tag"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of skopeo sync with an entry that cannot be a mirror."""
    path = tmp_path / "sync.yml"
    path.write_text(FILE)
    return path


def results(site: MemorySite, capsys: pytest.CaptureFixture[str], *words: str) -> list[Any]:
    run_command(site, "mirror", "import", *words, "--json")
    found: list[Any] = json.loads(capsys.readouterr().out)["mirrors"]
    return found


def test_each_entry_becomes_a_mirror_or_has_a_reason(
    site: MemorySite, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(site, "mirror", "import", str(file), "--namespace", SUPERUSER) == 1
    assert capsys.readouterr().out.splitlines() == [
        "line 4: registry.example.com/team/app: mirror admin/app created",
        "line 5: registry.example.com/other: mirror admin/other created",
        "line 6: registry.example.com/broken: no mirror: 'no tag' is not a valid tag",
    ]
    mirror = site.graph.mirrors.find(RepositoryName(SUPERUSER, "app"))
    assert mirror.patterns == ["1.0"]
    assert (mirror.robot, mirror.schedule.interval) == ("admin+mirror", 86_400)


def test_a_second_import_changes_nothing(
    site: MemorySite, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(file), "--namespace", SUPERUSER]
    results(site, capsys, *words)
    site.graph.mirrors.change(RepositoryName(SUPERUSER, "app"), {"root_rule": ["2.0"]})
    found = results(site, capsys, *words, "--interval", "1h")
    assert [one["result"] for one in found] == ["exists", "exists", "refused"]
    mirror = site.graph.mirrors.find(RepositoryName(SUPERUSER, "app"))
    assert (mirror.patterns, mirror.schedule.interval) == (["2.0"], 86_400)


def test_a_dry_run_creates_nothing(
    site: MemorySite, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = results(site, capsys, str(file), "--namespace", SUPERUSER, "--dry-run")
    assert [one["result"] for one in found] == ["created", "created", "refused"]
    assert site.database.read("SELECT count(*) FROM repository")[0][0] == 0
    assert site.graph.mirrors.list() == []


def test_a_repository_with_tags_does_not_become_a_mirror(
    site: MemorySite, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.push(b"config")
    manifest = image_manifest(b"config", [])
    digest = str(Digest.of(manifest))
    site.manifests().put(
        site.repository, digest, manifest, MANIFEST_TYPE, tags=["latest"], username=SUPERUSER
    )
    found = results(site, capsys, str(file), "--namespace", SUPERUSER)
    assert "'admin/app' has tags, which a mirror would delete" in found[0]["problem"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "the file names no namespace for 'app'; set --namespace"),
        (["--namespace", "missing"], "there is no namespace 'missing'; create it first"),
        (["--namespace", SUPERUSER, "--robot", "X"], "is not a valid robot name"),
    ],
)
def test_wrong_options_are_reported_for_each_entry(
    site: MemorySite,
    file: Path,
    words: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = results(site, capsys, str(file), *words)
    assert problem in found[0]["problem"]
    assert site.graph.mirrors.list() == []


def test_the_targets_of_regsync_name_the_namespace(
    site: MemorySite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "regsync.yml"
    entries = [
        {"source": "busybox", "target": f"registry.local/{SUPERUSER}/box", "type": "repository"},
        {"source": "alpine", "target": f"registry.local/{SUPERUSER}/box", "type": "repository"},
        {
            "source": "alpine",
            "target": f"registry.local/{SUPERUSER}/alpine",
            "type": "repository",
            "platform": "linux/amd64",
        },
    ]
    file.write_text(json.dumps({"sync": entries}))
    found = results(site, capsys, str(file))
    assert [(one["repository"], one["result"]) for one in found] == [
        ("admin/box", "created"),
        ("admin/box", "refused"),
        ("admin/alpine", "refused"),
    ]
    assert found[2]["problem"] == "a selection of platforms requires FEATURE_SPARSE_INDEX"


def test_an_empty_repository_becomes_a_mirror(
    site: MemorySite, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_mirror(site, RepositoryName(SUPERUSER, "app"))
    site.graph.mirrors.delete(RepositoryName(SUPERUSER, "app"))
    found = results(site, capsys, str(file), "--namespace", SUPERUSER)
    assert found[0]["result"] == "created"
