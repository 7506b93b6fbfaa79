"""Names of the source in the explanation exist: files, classes, attributes, parameters, modules."""

from __future__ import annotations

from pathlib import Path

import pytest
from reference.documents import Checker
from reference.source_names import SourceNames

REPOSITORY = Path(__file__).parents[3]

BLOBS = """
LIMIT = 1


class _Base:
    def find(self) -> None:
        self.found = 1


class Blobs(_Base):
    size: int

    def place(self, digest, *, location=None): ...


def register_locations(): ...
"""


@pytest.fixture
def names(tmp_path: Path) -> SourceNames:
    """Return the names of a small repository."""
    package = tmp_path / "app/atoll/placement"
    package.mkdir(parents=True)
    (package / "blobs.py").write_text(BLOBS)
    (package / "0001_tables.sql").write_text("CREATE TABLE blob (verified_at timestamptz);")
    (tmp_path / "app/tests").mkdir()
    (tmp_path / "app/tests/known_cases.py").touch()
    return SourceNames(tmp_path)


@pytest.mark.parametrize(
    "code",
    [
        "blobs.py",
        "known_cases.py",
        "Blobs.place",
        "Blobs.place(location=…)",
        "Blobs.size",
        "Blobs.find",
        "Blobs.found",
        "placement.blobs",
        "placement.blobs.LIMIT",
        "atoll.placement.blobs.Blobs.place",
        "register_locations",
        "register_locations()",
        "verified_at",
        # No names of the source.
        "blob.verified_at",
        "http.client",
        "config.yaml",
        "heal",
        "SKIP LOCKED",
        "Retry-After",
    ],
)
def test_name_that_exists_has_no_problem(names: SourceNames, code: str) -> None:
    assert names.problem(code) is None


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("blob.py", "no such file"),
        ("Blob.place", "no class Blob"),
        ("Blobs.put", "Blobs has no attribute put"),
        ("Blobs.place(site=…)", "Blobs.place has no parameter site"),
        ("placement.tasks", "no such module: tasks"),
        ("placement.blobs.MAXIMUM", "blobs has no name MAXIMUM"),
        ("atoll.placement.blobs.Blobs.put", "Blobs has no attribute put"),
        ("DeleteQueue", "no such name in the source"),
        ("forget_locations()", "no such name in the source"),
    ],
)
def test_name_that_does_not_exist_is_reported(names: SourceNames, code: str, problem: str) -> None:
    assert names.problem(code) == problem


def test_only_the_explanation_is_checked(tmp_path: Path) -> None:
    (tmp_path / "Makefile").touch()
    found = {}
    for part in ("explanation", "how-to"):
        page = tmp_path / f"docs/{part}/page.md"
        page.parent.mkdir(parents=True)
        page.write_text("# Page\n\nSee `missing.py`.\n")
        found[part] = list(Checker(tmp_path, lambda _line: None).problems(page))
    assert found == {
        "explanation": ["docs/explanation/page.md:3: `missing.py`: no such file"],
        "how-to": [],
    }


def test_renaming_a_method_makes_the_placement_page_wrong() -> None:
    assert SourceNames(REPOSITORY).problem("Collector.collect_blobs") is None
    assert SourceNames(REPOSITORY).problem("Collector.collect") is not None
