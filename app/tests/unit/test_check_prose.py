"""The prose check finds forbidden phrases in prose and ignores code."""

from __future__ import annotations

from pathlib import Path

import check_prose
import pytest

ROOT = Path(__file__).resolve().parents[3]


def places(name: str, text: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.phrase) for finding in check_prose.check_text(name, text)]


@pytest.mark.parametrize(
    "text",
    [
        '"""Return whoever holds it."""',
        "def f() -> None:\n    # Wait for whoever holds it.\n    return",
        'log.info("whoever waits")',
        'parser.add_argument("--x", help="whoever waits")',
        'raise ValueError(f"{x}: whoever waits")',
        "def test_whoever_waits() -> None: ...",
    ],
    ids=["docstring", "comment", "log", "help", "error", "test name"],
)
def test_a_phrase_in_the_prose_of_a_module_is_found(text: str) -> None:
    assert [phrase for _, phrase in places("a.py", text)] == ["whoever"]


def test_code_and_other_strings_of_a_module_are_ignored() -> None:
    assert places("a.py", 'whoever = connect(user="nobody", path="for ever")') == []


def test_a_wrapped_phrase_is_reported_at_its_first_line() -> None:
    assert places("a.py", "x = 1\n# It waits for\n# ever.\n") == [(2, "for ever")]
    assert places("a.md", "One.\n\nIt waits for\never.\n") == [(3, "for ever")]
    assert places("a.sql", "SELECT 1;\n-- It waits for\n-- ever.\n") == [(2, "for ever")]


def test_code_in_documentation_is_ignored() -> None:
    assert places("a.md", "Run `for ever`.\n\n```\nfor ever\n```\n") == []


def test_task_names_and_comments_of_playbooks_are_checked() -> None:
    text = "# For ever.\n- name: Look what is missing\n"
    assert places("a.yml", text) == [(1, "For ever"), (2, "what is missing")]


@pytest.mark.parametrize("text", ["A well-known name is well formed.", "Log in with the name."])
def test_ordinary_english_is_accepted(text: str) -> None:
    assert places("a.md", text) == []


def test_a_finding_names_the_file_line_phrase_and_replacement() -> None:
    (finding,) = check_prose.check_text("docs/a.md", "It waits for ever.")
    assert str(finding) == "docs/a.md:1: 'for ever': write instead: indefinitely"


def test_the_tree_is_free_of_forbidden_phrases() -> None:
    assert [str(finding) for finding in check_prose.check_tree(ROOT)] == []
