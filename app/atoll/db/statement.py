"""Statements that each connection prepares once, because requests run them often.

PostgreSQL plans a prepared statement a few times and then reuses a plan without the parameters'
values, if its estimated cost is not higher. Planning the query of a tag takes twice as long as
running it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

_PARAMETER = re.compile(r"%\((\w+)\)s")


class Statement:
    """One SQL statement with named parameters, such as `%(name)s`, at least one.

    Its name in PostgreSQL is derived from its text, so a name never stands for another statement,
    not even in a session that a pooler gave to several versions of Atoll.

    Attributes:
        sql: The text, for execution without preparation.
        name: The name.
        prepare: Prepares it and executes it, in one round trip.
        execute: Executes it in a session that has prepared it.
    """

    def __init__(self, sql: str) -> None:
        self._names = list(dict.fromkeys(_PARAMETER.findall(sql)))
        numbers = {name: number for number, name in enumerate(self._names, start=1)}
        text = _PARAMETER.sub(lambda match: f"${numbers[match[1]]}", sql)
        self.sql = sql
        self.name = f"atoll_{hashlib.sha256(text.encode()).hexdigest()[:24]}"
        self.execute = f"EXECUTE {self.name} ({', '.join(['%s'] * len(self._names))})"
        self.prepare = f"PREPARE {self.name} AS {text}; {self.execute}"

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the values for `execute` and `prepare`."""
        return [parameters[name] for name in self._names]
