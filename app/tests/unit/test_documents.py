"""Broken links, code blocks, paths and commands in Markdown are reported with their line."""

from __future__ import annotations

from pathlib import Path

import pytest
from reference.documents import Checker


def problems(directory: Path, text: str) -> list[str]:
    (directory / "Makefile").write_text("docs: setup ## build\nlint:\n")
    (directory / "docs").mkdir(exist_ok=True)
    (directory / "docs/other.md").write_text(
        "# Other\n\n## Two words, `code`\n\n## Twice\n\n## Twice\n"
    )
    (directory / "docs/page.md").write_text(text)

    def problem(words: str) -> str | None:
        return None if words.startswith("atoll verify") else "no such command"

    return list(Checker(directory, problem).problems(directory / "docs/page.md"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](missing.md)", "link to 'missing.md': no such file"),
        ("[a](other.md#nowhere)", "link to 'other.md#nowhere': no such heading"),
        ("[a](#nowhere)", "link to '#nowhere': no such heading"),
        ("```yaml\na: [\n```", "block of YAML: "),
        ("```json\n{a: 1}\n```", "block of JSON: "),
        ("```python\nif:\n```", "block of Python: "),
        ("```shell\nif true\n```", "block of shell: "),
        ("```\ntext\n```", "block of code: name its language"),
        ("```yaml\na: 1", "block of code: it is not closed"),
        ("Text:\n\n    make docs", "block of code: use a fence that names its language"),
        ("Broken `make\ndocs` code", "code: keep it on one line"),
        ("[text\nbroken](missing.md)", "link to 'missing.md': no such file"),
        ("`storage/missing.py`", "`storage/missing.py`: no such file"),
        ("`make doc`", "`make doc`: no such target"),
        ("```shell\nmake doc\n```", "`make doc`: no such target"),
        ("Run `atoll repair` now", "`atoll repair`: no such command"),
        ("```shell\nregistry atoll repair < file\n```", "`atoll repair`: no such command"),
    ],
)
def test_problem_is_reported(tmp_path: Path, text: str, problem: str) -> None:
    found = problems(tmp_path, f"# Page\n\n{text}\n")
    assert found
    assert found[0].startswith("docs/page.md:")
    assert problem in found[0]


@pytest.mark.parametrize(
    "text",
    [
        "[a](other.md) [b](other.md#two-words-code) [c](other.md#twice_1) [d](#page)",
        "[external](https://registry.example/missing)",
        "```yaml\na: 1\n---\nb: [1]\n```",
        "```shell\nmake docs   # comment\nregistry atoll verify --full # comment\n```",
        "```text\nanything (\n```",
        "- item\n\n    continued\n\n    ```shell\n    make lint\n    ```",
        "`docs/other.md` `docs/*.md` `make lint` `atoll verify`",
        "`[text](missing.md)`",
        "[text\nbroken](other.md)",
    ],
)
def test_correct_document_has_no_problem(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, f"# Page\n\n{text}\n") == []
