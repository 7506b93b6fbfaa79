"""Check Markdown documents: links, anchors, blocks of code, and names in code."""

from __future__ import annotations

import ast
import html
import json
import re
import subprocess
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from reference.source_names import SourceNames

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[\w+-]*)\s*$")
_INDENTED = re.compile(r"^ {4,}\S")
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:")
_PATH = re.compile(r"(?:[\w.-]+/)+[\w.*-]+\.(?:py|yml|md|sql|j2|toml)")
_TARGET = re.compile(r"^\s*make ([a-z][a-z-]*)\b", re.MULTILINE)
# Directories that paths in code may be relative to.
_ROOTS = ("", "app/atoll", "app/tests", "docs")
# Pages that name parts of the source.
_EXPLANATION = "docs/explanation"


@dataclass(frozen=True)
class Block:
    """A block of code: its language, its text, and the line where it begins."""

    language: str
    text: str
    line: int


class Document:
    """A Markdown file, split into prose and blocks of code."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blocks: list[Block] = []
        self.prose: list[tuple[int, str]] = []
        self._split(path.read_text().splitlines())

    def _split(self, lines: list[str]) -> None:
        begin, fence, language, indent = 0, "", "", ""
        text: list[str] = []
        for number, line in enumerate(lines, 1):
            if not fence:
                if found := _FENCE.match(line):
                    fence, language, indent = found["fence"], found["language"], found["indent"]
                    begin, text = number, []
                else:
                    self.prose.append((number, line))
            elif line.strip() == fence:
                self.blocks.append(Block(language, "\n".join(text) + "\n", begin))
                fence = ""
            else:
                text.append(line.removeprefix(indent))
        if fence:
            self.blocks.append(Block("unclosed", "", begin))

    @cached_property
    def anchors(self) -> set[str]:
        """The anchors of its headings."""
        found: set[str] = set()
        for _, line in self.prose:
            if heading := _HEADING.match(line):
                anchor = _slug(html.unescape(_CODE.sub(r"\1", heading[1])))
                number = 0
                while anchor in found:
                    number += 1
                    anchor = f"{anchor.removesuffix(f'_{number - 1}')}_{number}"
                found.add(anchor)
        return found

    @cached_property
    def inline_code(self) -> list[tuple[int, str]]:
        """Each piece of code within a line of prose."""
        return [(number, code) for number, line in self.prose for code in _CODE.findall(line)]


class Checker:
    """Checks documents of one repository.

    Args:
        repository: the root that paths are relative to.
        command_problem: return the problem of a command line that starts with `atoll`, or None.
    """

    def __init__(self, repository: Path, command_problem: Callable[[str], str | None]) -> None:
        self._repository = repository
        self._command_problem = command_problem
        self._documents: dict[Path, Document] = {}
        self._source_names = SourceNames(repository)
        makefile = (repository / "Makefile").read_text()
        self._targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))

    def problems(self, path: Path) -> Iterator[str]:
        """Return each problem of a file as `path:line: problem`."""
        document = self._document(path)
        name = path.relative_to(self._repository)
        found = [
            *self._links(document),
            *self._blocks(document),
            *self._paths(document),
            *self._commands(document),
            *self._names(document),
        ]
        for line, problem in sorted(found):
            yield f"{name}:{line}: {problem}"

    def _document(self, path: Path) -> Document:
        if path not in self._documents:
            self._documents[path] = Document(path)
        return self._documents[path]

    def _links(self, document: Document) -> Iterator[tuple[int, str]]:
        for number, line in document.prose:
            for target in _LINK.findall(_CODE.sub("", line)):
                if not _SCHEME.match(target) and (problem := self._link(document, target)):
                    yield number, problem

    def _link(self, document: Document, target: str) -> str | None:
        file, _, anchor = target.partition("#")
        path = (document.path.parent / file).resolve() if file else document.path
        if not path.exists():
            return f"link to '{target}': no such file"
        if anchor and path.suffix == ".md" and anchor not in self._document(path).anchors:
            return f"link to '{target}': no such heading"
        return None

    def _blocks(self, document: Document) -> Iterator[tuple[int, str]]:
        for number, line in document.prose:
            if _INDENTED.match(line) and document.path.parts[-2:-1] != ("roles",):
                previous = next((text for at, text in document.prose if at == number - 1), "")
                if not previous.strip() and not _in_list(document, number):
                    yield number, "block of code: use a fence that names its language"
        for block in document.blocks:
            if problem := _block_problem(block):
                yield block.line, problem

        for number, line in document.prose:
            if line.count("`") % 2:
                yield number, "code: keep it on one line, so that it can be searched for"

    def _paths(self, document: Document) -> Iterator[tuple[int, str]]:
        for number, code in document.inline_code:
            is_path = _PATH.fullmatch(code) and not code.startswith(("/", ".cache"))
            if is_path and not self._exists(code):
                yield number, f"`{code}`: no such file"
        pieces = [(block.line, block.text) for block in document.blocks]
        for number, text in [*pieces, *document.inline_code]:
            for target in _TARGET.findall(text):
                if target not in self._targets:
                    yield number, f"`make {target}`: no such target"

    def _exists(self, pattern: str) -> bool:
        return any(list((self._repository / root).glob(pattern)) for root in _ROOTS)

    def _commands(self, document: Document) -> Iterator[tuple[int, str]]:
        for block in document.blocks:
            if block.language == "shell":
                for offset, line in enumerate(block.text.splitlines(), 1):
                    for words in _command_lines(line):
                        if problem := self._command_problem(words):
                            yield block.line + offset, f"`{words}`: {problem}"
        for number, code in document.inline_code:
            for words in _command_lines(code):
                if problem := self._command_problem(words):
                    yield number, f"`{words}`: {problem}"

    def _names(self, document: Document) -> Iterator[tuple[int, str]]:
        if document.path.parent == self._repository / _EXPLANATION:
            for number, code in document.inline_code:
                if problem := self._source_names.problem(code):
                    yield number, f"`{code}`: {problem}"


def _slug(heading: str) -> str:
    """Return the anchor that MkDocs gives a heading."""
    text = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


def _in_list(document: Document, number: int) -> bool:
    """Return whether the paragraph at a line belongs to an item of a list."""
    for at, line in reversed(document.prose):
        if at < number and line and not line.startswith(" "):
            return bool(re.match(r"([-*]|\d+\.) ", line))
    return False


def _command_lines(text: str) -> Iterator[str]:
    """Return each command line of `atoll` in TEXT, without redirections and comments."""
    for part in re.split(r"\s#\s|[|;<>&]", text):
        if found := re.search(r"(?:^|\s)(atoll(?:\s+\S+)*)\s*$", part):
            yield found[1]


def _block_problem(block: Block) -> str | None:
    if block.language == "unclosed":
        return "block of code: it is not closed"
    if not block.language:
        return "block of code: name its language"
    check = _LANGUAGES.get(block.language)
    return check(block.text) if check else None


def _yaml(text: str) -> str | None:
    try:
        list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        return f"block of YAML: {' '.join(str(error).split())}"
    return None


def _json(text: str) -> str | None:
    try:
        json.loads(text)
    except ValueError as error:
        return f"block of JSON: {error}"
    return None


def _python(text: str) -> str | None:
    try:
        ast.parse(text)
    except SyntaxError as error:
        return f"block of Python: {error}"
    return None


def _shell(text: str) -> str | None:
    checked = subprocess.run(
        ["bash", "-n"],  # noqa: S607 - it only parses
        input=text,
        text=True,
        capture_output=True,
        check=False,
    )
    return f"block of shell: {checked.stderr.strip()}" if checked.returncode else None


_LANGUAGES: dict[str, Callable[[str], str | None]] = {
    "yaml": _yaml,
    "json": _json,
    "python": _python,
    "shell": _shell,
}
