"""Examples for parsers: valid inputs, mutations of them, and noise."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

# Characters that are special to some parser, or that libraries often handle incorrectly.
_SPECIAL = st.sampled_from(
    [
        *"/:,;=-.@ \t\"'[]{}()%+*\\?&<>#_|~0129azAZ\0\r\n\x7f",
        *"\x80\xe9\xff\u0130\u0661\u2028\uff11\U0001f600",
        # More often, because PostgreSQL refuses them.
        *(
            "\0",
            "\0",
            "\0",
            "\0",
            "//",
            "..",
            "--",
            "==",
            "9" * 20,
            "9" * 5000,
            "a" * 300,
            "[" * 2000,
        ),
    ]
)


@st.composite
def mutated(draw: DrawFn, valid: SearchStrategy[str]) -> str:
    """Return a valid input with up to five mutations."""
    text = draw(valid)
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 20)))
        kind = draw(st.sampled_from(["delete", "insert", "replace", "repeat", "cut", "case"]))
        piece = text[start:end]
        if kind == "insert":
            piece += draw(_SPECIAL)
        elif kind == "replace":
            piece = draw(_SPECIAL)
        elif kind == "repeat":
            piece *= draw(st.sampled_from([2, 3, 100]))
        elif kind == "case":
            piece = piece.swapcase()
        before, after = text[:start], "" if kind == "cut" else text[end:]
        text = before + ("" if kind == "delete" else piece) + after
    return text


def texts(valid: SearchStrategy[str]) -> SearchStrategy[str]:
    """Return inputs for a text parser: valid ones, mutated ones, and noise."""
    noise = st.text(max_size=200) | st.lists(_SPECIAL, max_size=30).map("".join)
    return valid | mutated(valid) | noise


def header_values(valid: SearchStrategy[str]) -> SearchStrategy[str]:
    """Return header values as in WSGI: Latin-1, without line breaks and zero bytes."""
    return texts(valid).map(
        lambda text: (
            text.encode("utf-8", "replace")
            .decode("latin-1")
            .translate({0: None, 10: None, 13: None})
        )
    )


def json_values() -> SearchStrategy[Any]:
    """Return any JSON values, including text that cannot be encoded in UTF-8."""
    text = st.text(max_size=30) | _SPECIAL | st.sampled_from(["\ud800", "a\udfff", "\0", "a\0b"])
    numbers = st.integers() | st.floats() | st.sampled_from([float("nan"), float("inf"), 10**40])
    scalars = st.none() | st.booleans() | numbers | text
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text, inner, max_size=5),
        max_leaves=20,
    )


@st.composite
def mutated_json(draw: DrawFn, valid: SearchStrategy[Any]) -> bytes:
    """Return a JSON document with some parts replaced, and possibly invalid syntax."""
    document = draw(valid)
    for _ in range(draw(st.integers(0, 3))):
        document = _replace(draw, document)
    content = json.dumps(document, ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()):
        content = draw(mutated(st.just(content)))
    encoding = draw(st.sampled_from(["utf-8"] * 8 + ["utf-16", "utf-32", "utf-8-sig", "latin-1"]))
    data = content.encode(encoding, "backslashreplace")
    return draw(st.sampled_from([data] * 8 + [b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000]))


def _replace(draw: DrawFn, value: Any) -> Any:
    """Return `value` with one of its parts replaced, removed or added."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        change = draw(st.sampled_from(["inside", "remove", "add"]))
        if change == "inside":
            return {**value, key: _replace(draw, value[key])}
        if change == "remove":
            return {name: inner for name, inner in value.items() if name != key}
        return {**value, draw(st.text(max_size=10)): draw(json_values())}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], _replace(draw, value[place]), *value[place + 1 :]]
    return draw(json_values())
