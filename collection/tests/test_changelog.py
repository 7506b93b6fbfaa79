"""News fragments are validated, and those of the collection are converted to Ansible's format."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("changelog", ROOT / "collection" / "changelog.py")
assert _SPEC is not None
assert _SPEC.loader is not None
changelog = importlib.util.module_from_spec(_SPEC)
sys.modules["changelog"] = changelog
_SPEC.loader.exec_module(changelog)


def test_the_fragments_of_this_version_are_valid() -> None:
    assert changelog.main(["check"]) == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("drain.added.md", "text"),
        ("+drain.removed.md", "text"),
        ("+drain.added.rst", "text"),
        ("+drain.added.md", " \n"),
        ("+drain.added.md", "- text"),
        ("+drain.added.md", "x" * 401),
    ],
)
def test_the_error_for_a_malformed_fragment_contains_its_name(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(changelog.FragmentError, match=name.replace("+", r"\+")):
        changelog.read_fragments(tmp_path)


def test_the_changelog_of_the_collection_contains_only_its_fragments(tmp_path: Path) -> None:
    (tmp_path / "+api.added.md").write_text("The API.")
    (tmp_path / "+collection-keys.fixed.md").write_text("Playbooks\nkeep `keys`.")
    assert changelog.ansible_fragment(changelog.read_fragments(tmp_path)) == {
        "bugfixes": ["Playbooks keep ``keys``."]
    }


def test_a_release_writes_both_changelogs_and_removes_the_fragments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pyproject.toml", "galaxy.yml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("changes", "changelogs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "add", "--all"], check=True)
    monkeypatch.setattr(changelog, "ROOT", tmp_path)

    changelog.release("0.1.0")

    written = yaml.safe_load((tmp_path / "changelogs" / "changelog.yaml").read_text())
    assert written["releases"]["0.1.0"]["changes"]["minor_changes"]
    text = (tmp_path / "CHANGELOG.md").read_text()
    assert "## 0.1.0" in text
    assert "### Security" in text
    assert [path.name for path in (tmp_path / "changes").iterdir()] == ["README.md"]
