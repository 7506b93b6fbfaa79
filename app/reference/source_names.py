"""Check that names of the application's source in prose exist, without importing the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

_Function = ast.FunctionDef | ast.AsyncFunctionDef

_FILE = re.compile(r"\w+\.py")
# A name with dots, and the arguments if it is a call.
_DOTTED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?:\((.*)\))?")
_CLASS = re.compile(r"[A-Z]\w*[a-z]\w*")
_ARGUMENT = re.compile(r"\b([a-z_]\w*)=")
# A name that does not look like a word of English: of a class, or with an underscore.
_SINGLE = re.compile(r"((?:[A-Z][a-z0-9]+){2,}|[a-z]\w*_\w+)(?:\(.*\))?")
_WORD = re.compile(r"\w+")
# `config.yaml` is a file, although `config` is a package.
_DATA_FILE = re.compile(r".*\.(?:ya?ml|json|sql|toml|conf|md)")
# Where a name with an underscore may be defined: SQL has columns, roles have variables.
_DEFINITIONS = ("app/atoll/**/*.py", "app/atoll/**/*.sql", "roles/**/*.yml")


@dataclass
class _Class:
    """The attributes of a class, with the parameters of methods, and the names of its bases."""

    attributes: dict[str, set[str]] = field(default_factory=dict)
    bases: set[str] = field(default_factory=set)


class SourceNames:
    """The names in the source of the application.

    Args:
        repository: the root of the repository; the source is in `app/atoll`.
    """

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._package = repository / "app/atoll"

    def problem(self, code: str) -> str | None:
        """Return the problem of a piece of code in prose, None if it is no name or exists.

        These are names: files without a directory, classes and their attributes, modules and what
        they define, from the package on, and words with an underscore.
        """
        if _FILE.fullmatch(code):
            return None if code in self._files else "no such file"
        if _DATA_FILE.fullmatch(code):
            return None
        if (found := _DOTTED.fullmatch(code)) is not None:
            return self._dotted_problem(found[1].split("."), found[2] or "")
        if (found := _SINGLE.fullmatch(code)) is not None and found[1] not in self._words:
            return "no such name in the source"
        return None

    def _dotted_problem(self, parts: list[str], arguments: str) -> str | None:
        if _CLASS.fullmatch(parts[0]):
            return self._attribute_problem(parts, arguments)
        if parts[0] == "atoll":
            return self._module_problem(self._package, parts[1:])
        if (self._package / parts[0]).is_dir() or (self._package / f"{parts[0]}.py").is_file():
            return self._module_problem(self._package, parts)
        # A column, or a module of the standard library or of another project.
        return None

    def _attribute_problem(self, parts: list[str], arguments: str) -> str | None:
        name, attribute = parts[:2]
        if name not in self._classes:
            return f"no class {name}"
        attributes = self._attributes(name)
        if attribute not in attributes:
            return f"{name} has no attribute {attribute}"
        for argument in _ARGUMENT.findall(arguments):
            if argument not in attributes[attribute]:
                return f"{name}.{attribute} has no parameter {argument}"
        return None

    def _module_problem(self, directory: Path, parts: list[str]) -> str | None:
        for number, part in enumerate(parts):
            file = directory / f"{part}.py"
            if file.is_file():
                defined = _module_names(ast.parse(file.read_text()))
                following = parts[number + 1 :]
                if following and following[0] not in defined:
                    return f"{file.stem} has no name {following[0]}"
                return self._attribute_problem(following, "") if len(following) > 1 else None
            directory /= part
            if not directory.is_dir():
                return f"no such module: {part}"
        return None

    def _attributes(self, name: str, seen: frozenset[str] = frozenset()) -> dict[str, set[str]]:
        """Return the attributes of a class and of its bases in the application."""
        one = self._classes[name]
        inherited: dict[str, set[str]] = {}
        for base in (one.bases & self._classes.keys()) - seen - {name}:
            inherited |= self._attributes(base, seen | {name})
        return inherited | one.attributes

    @cached_property
    def _classes(self) -> dict[str, _Class]:
        classes: dict[str, _Class] = {}
        for file in sorted(self._package.rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ClassDef):
                    one = classes.setdefault(node.name, _Class())
                    one.bases |= {_last_name(base) for base in node.bases}
                    for name, parameters in _class_attributes(node):
                        one.attributes.setdefault(name, set()).update(parameters)
        return classes

    @cached_property
    def _files(self) -> set[str]:
        return {file.name for file in (self._repository / "app").rglob("*.py")}

    @cached_property
    def _words(self) -> set[str]:
        files = (file for pattern in _DEFINITIONS for file in self._repository.glob(pattern))
        return {word for file in files for word in _WORD.findall(file.read_text())}


def _class_attributes(node: ast.ClassDef) -> Iterator[tuple[str, set[str]]]:
    """Return the names that a class or its methods assign, with the parameters of methods."""
    for statement in node.body:
        if isinstance(statement, _Function):
            arguments = statement.args
            every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
            yield statement.name, {one.arg for one in every}
            for inner in ast.walk(statement):
                if isinstance(inner, ast.Attribute) and _is_assignment_to_self(inner):
                    yield inner.attr, set()
        else:
            for name in _assigned(statement):
                yield name, set()


def _is_assignment_to_self(node: ast.Attribute) -> bool:
    is_self = isinstance(node.value, ast.Name) and node.value.id == "self"
    return is_self and isinstance(node.ctx, ast.Store)


def _module_names(module: ast.Module) -> set[str]:
    """Return the names that a module defines."""
    found: set[str] = set()
    for statement in module.body:
        if isinstance(statement, _Function | ast.ClassDef):
            found.add(statement.name)
        found |= _assigned(statement)
    return found


def _assigned(statement: ast.stmt) -> set[str]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}


def _last_name(base: ast.expr) -> str:
    """Return the name of a base class, without its module and parameters."""
    if isinstance(base, ast.Subscript):
        base = base.value
    if isinstance(base, ast.Attribute):
        return base.attr
    return base.id if isinstance(base, ast.Name) else ""
