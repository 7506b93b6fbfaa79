#!/usr/bin/env python3
"""Reject phrases that make the project's prose hard to read, and name their replacements.

usage: app/check_prose.py [ROOT]

Checked are docstrings, comments, log messages, help texts and error messages of Python, names of
tests, and all text of documentation, playbooks, templates, SQL and shell scripts. Exit status: 0 if
there is no finding, 1 if there are some.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Each phrase with its replacement. Phrases belong here only if they have few legitimate uses.
PHRASES = {
    r"whoever": "the client, the caller, the lock holder",
    r"whom": "the recipient, the target",
    r"somebody|everybody": "a user, another process, all users",
    r"anew": "again; recreate, restart, retry",
    r"for ever": "indefinitely",
    r"go(?:es|ing)? on|went on|gone on": "continue, resume",
    r"tak(?:e|es|en|ing) up": "apply, load",
    r"tak(?:e|es|en|ing) (?:\w+ )?away|took (?:\w+ )?away": "remove, delete, revoke",
    r"thr(?:ow|ows|own|ew|owing) (?:\w+ )?away": "discard, delete",
    r"(?:is|are|was|were) well(?![ -](?:known|formed|defined))": "healthy",
    r"(?:is|are|was|were) ill": "unhealthy",
    r"(?:sites?|stores?|registry|registries|instances?) (?:is|are|was|were) whole": "healthy",
    r"(?:is|are|was|were) away": "unavailable",
    r"tells? whether": "return whether, report whether",
    r"(?:say|says|said) (?:that|what|how|whether|so)": "reports, specifies, describes",
    r"what is (?:missing|wrong|due|meant)": "missing copies, the problem: use a noun",
    r"nobody thought of": "unhandled exception",
    r"authorities": "CA certificates",
    r"signs? of life": "heartbeat",
    r"(?:that|it|removal) is meant": "confirmed",
    r"good no more": "invalid, revoked",
    r"in excess": "over-replicated",
    r"ends? TLS": "terminates TLS",
    r"lanes?": "work queue",
    r"the bell": "LISTEN/NOTIFY, wake-up",
    r"gives? a sign": "sends a heartbeat",
}

_PATTERNS = {
    re.compile(rf"\b(?:{phrase})\b", re.IGNORECASE): replacement
    for phrase, replacement in PHRASES.items()
}
_PLAIN_SUFFIXES = frozenset({".md", ".yml", ".yaml", ".j2", ".sql", ".sh"})
_PLAIN_NAMES = frozenset({"Makefile", "Containerfile"})
_SKIPPED_DIRECTORY = re.compile(r"\.git|\.venv|node_modules|site|.*cache.*")
_LOG_METHODS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
_TEXT_ARGUMENTS = frozenset({"help", "short_help", "epilog", "description", "title"})
_FENCE = re.compile(r"^\s*(```|~~~)")
_INLINE_CODE = re.compile(r"`[^`]*`")


@dataclass(frozen=True)
class Finding:
    """A phrase at a place in a file."""

    path: str
    line: int
    phrase: str
    replacement: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: '{self.phrase}': write instead: {self.replacement}"


def check_tree(root: Path) -> list[Finding]:
    """Return the findings in all files below a directory."""
    findings = []
    for path in sorted(_files(root)):
        name = path.relative_to(root).as_posix()
        findings += check_text(name, path.read_text(encoding="utf-8"))
    return findings


def check_text(name: str, text: str) -> list[Finding]:
    """Return the findings in the text of one file; the name determines its format."""
    if name.endswith(".py"):
        pieces = _python_prose(text)
    elif name.endswith(".md"):
        pieces = _markdown_prose(text)
    else:
        pieces = iter([(1, text)])
    return [finding for line, prose in pieces for finding in _findings(name, line, prose)]


def _findings(name: str, line: int, prose: str) -> Iterator[Finding]:
    # A phrase may be wrapped over two lines, with the comment sign of its format between them.
    joined = re.sub(r"\n[ \t]*(?:#:?|--|//|>)?[ \t]*", "\n", prose)
    for pattern, replacement in _PATTERNS.items():
        for match in pattern.finditer(joined.replace("\n", " ")):
            before = joined.count("\n", 0, match.start())
            yield Finding(name, line + before, match[0], replacement)


def _markdown_prose(text: str) -> Iterator[tuple[int, str]]:
    lines, fenced = [], False
    for line in text.splitlines():
        fence = _FENCE.match(line) is not None
        fenced ^= fence
        lines.append("" if fenced or fence else _INLINE_CODE.sub("", line))
    yield 1, "\n".join(lines)


def _python_prose(text: str) -> Iterator[tuple[int, str]]:
    yield from _comments(text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstring(node)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.lineno, node.name.replace("_", " ")
        if isinstance(node, ast.Call):
            yield from _messages(node)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            for argument in node.exc.args:
                yield from _strings(argument)


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield each block of comments, so that phrases are found across its lines."""
    block: list[str] = []
    first = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        if block and token.start[0] != first + len(block):
            yield first, "\n".join(block)
            block = []
        if not block:
            first = token.start[0]
        block.append(token.string.lstrip("#").strip())
    if block:
        yield first, "\n".join(block)


def _docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> Iterator[tuple[int, str]]:
    if ast.get_docstring(node) is not None:
        yield node.body[0].lineno, ast.get_docstring(node, clean=False) or ""


def _messages(call: ast.Call) -> Iterator[tuple[int, str]]:
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr in _LOG_METHODS and call.args:
        yield from _strings(call.args[0])
    for keyword in call.keywords:
        if keyword.arg in _TEXT_ARGUMENTS:
            yield from _strings(keyword.value)


def _strings(node: ast.expr) -> Iterator[tuple[int, str]]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.lineno, inner.value


def _files(root: Path) -> Iterator[Path]:
    for path in root.iterdir():
        if path.is_symlink() or (path.is_dir() and _SKIPPED_DIRECTORY.fullmatch(path.name)):
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.suffix == ".py" or _is_plain(path):
            yield path


def _is_plain(path: Path) -> bool:
    if path.suffix in _PLAIN_SUFFIXES or path.name in _PLAIN_NAMES:
        return True
    if path.suffix:
        return False
    with path.open("rb") as file:
        return file.read(11) == b"#!/bin/bash"


def main(arguments: list[str]) -> int:
    """Print the findings, and return the exit status."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1]
    findings = check_tree(root)
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
