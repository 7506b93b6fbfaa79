"""Fields of log records have other names than the attributes of records, which logging refuses."""

from __future__ import annotations

import ast
import logging
from collections.abc import Iterator
from pathlib import Path

import atoll

RESERVED = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


def reserved_fields(tree: ast.AST) -> Iterator[str]:
    """Yield the reserved names in the argument `extra` of calls."""
    for call in ast.walk(tree):
        for argument in call.keywords if isinstance(call, ast.Call) else ():
            if argument.arg == "extra" and isinstance(argument.value, ast.Dict):
                names = {one.value for one in argument.value.keys if isinstance(one, ast.Constant)}
                yield from (str(name) for name in names & RESERVED)


def test_no_log_field_has_the_name_of_an_attribute_of_records() -> None:
    for file in Path(atoll.__file__).parent.rglob("*.py"):
        assert list(reserved_fields(ast.parse(file.read_text()))) == [], file
