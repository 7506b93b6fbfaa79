"""Modules run with Python 3.9, which is the version of Enterprise Linux 9.

ruff checks their syntax with this version as its target, but not the names of the standard library.
"""

import ast

import pytest

PLUGINS = "plugins"
LATER_MODULES = {"annotationlib", "compression", "string.templatelib", "tomllib", "pathlib.types"}
# The additions of Python 3.10 and later that are plausible in a module.
LATER_NAMES = {
    "asyncio.Runner",
    "asyncio.TaskGroup",
    "asyncio.timeout",
    "contextlib.aclosing",
    "contextlib.chdir",
    "datetime.UTC",
    "enum.ReprEnum",
    "enum.StrEnum",
    "enum.verify",
    "hashlib.file_digest",
    "inspect.get_annotations",
    "itertools.batched",
    "itertools.pairwise",
    "sys.exception",
    "types.EllipsisType",
    "types.NoneType",
    "types.UnionType",
    "typing.Concatenate",
    "typing.LiteralString",
    "typing.Never",
    "typing.NotRequired",
    "typing.ParamSpec",
    "typing.Required",
    "typing.Self",
    "typing.TypeAlias",
    "typing.TypeGuard",
    "typing.TypeIs",
    "typing.Unpack",
    "typing.assert_never",
    "typing.override",
    "typing.reveal_type",
    "warnings.deprecated",
}
LATER_BUILTINS = {"BaseExceptionGroup", "EncodingWarning", "ExceptionGroup", "aiter", "anext"}
LATER_ARGUMENTS = {
    ("TemporaryDirectory", "delete"),
    ("bisect_left", "key"),
    ("bisect_right", "key"),
    ("dataclass", "kw_only"),
    ("dataclass", "slots"),
    ("extractall", "filter"),
    ("zip", "strict"),
}
LATER_METHODS = {"add_note", "bit_count"}
TYPES = {"bool", "bytes", "dict", "float", "int", "list", "set", "str", "tuple"}


def _evaluated(tree):
    """Yield the nodes of a module, without its annotations, which are not evaluated."""
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns"):
                continue
            children = value if isinstance(value, list) else [value]
            todo += [child for child in children if isinstance(child, ast.AST)]


def _is_type(node):
    if isinstance(node, ast.Constant):
        return node.value is None
    return isinstance(node, ast.Name) and node.id in TYPES


def _of_node(node):
    found = []
    if isinstance(node, ast.Import):
        found = [alias.name for alias in node.names if alias.name in LATER_MODULES]
    elif isinstance(node, ast.ImportFrom):
        names = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        found = list(names & (LATER_NAMES | LATER_MODULES))
    elif isinstance(node, ast.Attribute):
        name = f"{node.value.id}.{node.attr}" if isinstance(node.value, ast.Name) else ""
        found = [node.attr] if name in LATER_NAMES or node.attr in LATER_METHODS else []
    elif isinstance(node, ast.Name):
        found = [node.id] if node.id in LATER_BUILTINS else []
    elif isinstance(node, ast.Call):
        function = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given = {(function, keyword.arg) for keyword in node.keywords}
        found = [f"{name}({argument}=)" for name, argument in given & LATER_ARGUMENTS]
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        found = ["TYPE | TYPE"] if _is_type(node.left) or _is_type(node.right) else []
    return found


def later(source):
    """Return the parts of a module that Python 3.9 does not have."""
    try:
        tree = ast.parse(source, feature_version=(3, 9))
    except SyntaxError as error:
        return [f"line {error.lineno}: {error.msg}"]
    future = any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body
    )
    found = [] if future else ["no `from __future__ import annotations`"]
    for node in _evaluated(tree):
        found += [f"line {node.lineno}: {name}" for name in _of_node(node)]
    return found


def test_no_module_requires_a_later_python(root):
    files = [
        file
        for folder in ("doc_fragments", "module_utils", "modules")
        for file in sorted((root / PLUGINS / folder).glob("*.py"))
        if file.read_text()
    ]

    assert files
    assert {file.name: found for file in files if (found := later(file.read_text()))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "from datetime import UTC, datetime",
        "import datetime\nnow = datetime.datetime.now(datetime.UTC)",
        "import tomllib",
        "pairs = zip('ab', 'cd', strict=True)",
        "number = isinstance(1, int | None)",
        "bits = (5).bit_count()",
        "match 1:\n    case 1:\n        pass",
        "try:\n    pass\nexcept* OSError:\n    pass",
    ],
)
def test_additions_of_later_versions_are_found(line):
    assert later("from __future__ import annotations\n") == []
    assert later(f"from __future__ import annotations\n{line}\n") != []


def test_annotations_may_use_later_syntax():
    assert (
        later("from __future__ import annotations\ndef f(a: int | None) -> str | None: ...") == []
    )
