"""Conversion of regular expressions for tags to the patterns of a Unix shell.

Patterns have no repetition, so an expression such as `[0-9]+` becomes one pattern for each length
up to a limit. Such a conversion is not exact: it selects fewer tags.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# The longest repetition of an unbounded one, and the maximum number of patterns.
REPETITIONS_MAXIMUM = 4
_PATTERNS_MAXIMUM = 500
_CLASSES = {"d": "[0-9]", "w": "[0-9A-Za-z_]"}
_SPECIAL = frozenset("*?[")
_ANY, _ANYTHING = "?", "*"


class NotConvertible(ValueError):
    """The expression has no equivalent patterns."""


@dataclass(frozen=True)
class TagPatterns:
    """The patterns of an expression.

    Attributes:
        patterns: the patterns, one of which a tag must match.
        is_exact: whether they select the same tags as the expression, and not fewer.
    """

    patterns: tuple[str, ...]
    is_exact: bool


def tag_patterns(expression: str, *, is_anchored: bool) -> TagPatterns:
    """Convert a regular expression to patterns.

    Args:
        expression: the expression, in the syntax that Go, Python and Perl share.
        is_anchored: whether it must match the whole tag even without `^` and `$`.

    Raises:
        NotConvertible: there are no equivalent patterns.
    """
    parser = _Parser(expression, is_anchored=is_anchored)
    return TagPatterns(tuple(dict.fromkeys(parser.parse())), parser.is_exact)


class _Parser:
    """A recursive descent over the expression. Each method returns alternative patterns."""

    def __init__(self, expression: str, *, is_anchored: bool) -> None:
        self._text = expression
        self._at = 0
        self._is_anchored = is_anchored
        self.is_exact = True

    def parse(self) -> list[str]:
        found = self._alternatives(is_outermost=True)
        if self._at < len(self._text):
            raise self._not_convertible("an unbalanced parenthesis")
        return found

    def _alternatives(self, *, is_outermost: bool = False) -> list[str]:
        found = self._sequence(is_outermost=is_outermost)
        while self._take("|"):
            found += self._sequence(is_outermost=is_outermost)
        return found

    def _sequence(self, *, is_outermost: bool) -> list[str]:
        begins = is_outermost and self._take("^")
        ends = False
        found = [""]
        while self._peek() not in ("", "|", ")"):
            if is_outermost and self._peek() == "$":
                self._at += 1
                ends = True
                if self._peek() not in ("", "|"):
                    raise self._not_convertible("$ within the expression")
                break
            found = self._product(found, self._repeated())
        if is_outermost and not self._is_anchored:
            before = "" if begins else _ANYTHING
            after = "" if ends else _ANYTHING
            found = [_merged(before + one + after) for one in found]
        return found

    def _repeated(self) -> list[str]:
        atom = self._atom()
        lowest, highest = self._quantifier()
        if highest is None and atom == [_ANY]:
            return [_ANY * lowest + _ANYTHING]
        if highest is None:
            self.is_exact = False
            highest = lowest + REPETITIONS_MAXIMUM - min(lowest, 1)
        found: list[str] = []
        power = [""]
        for count in range(highest + 1):
            if count >= lowest:
                found += power
            if count < highest:
                power = self._product(power, atom)
        return list(self._bounded(dict.fromkeys(found)))

    def _quantifier(self) -> tuple[int, int | None]:
        """Return the permitted numbers of repetitions."""
        found: tuple[int, int | None] = (1, 1)
        if self._take("?"):
            found = 0, 1
        elif self._take("*"):
            found = 0, None
        elif self._take("+"):
            found = 1, None
        elif self._take("{"):
            lowest, comma, highest = self._until("}").partition(",")
            if not lowest.isdecimal() or not (not highest or highest.isdecimal()):
                raise self._not_convertible("a repetition")
            limit = int(highest) if highest else None if comma else int(lowest)
            found = int(lowest), limit
            if max(int(lowest), limit or 0) > _PATTERNS_MAXIMUM:
                raise self._not_convertible("a large number of repetitions")
        # A lazy repetition matches the same tags; a second one is an error.
        self._take("?")
        if self._peek() in ("*", "+", "?", "{"):
            raise self._not_convertible("a repeated repetition")
        return found

    def _atom(self) -> list[str]:
        character = self._next()
        if character == "(":
            if self._take("?") and not self._take(":"):
                raise self._not_convertible("an option in parentheses")
            found = self._alternatives()
            if not self._take(")"):
                raise self._not_convertible("an unbalanced parenthesis")
            return found
        if character == "[":
            return [self._class()]
        if character == ".":
            return [_ANY]
        if character == "\\":
            return [self._escape()]
        if character in "^$*+?{":
            raise self._not_convertible(f"{character} at this place")
        return [_literal(character)]

    def _escape(self) -> str:
        character = self._next()
        if character in _CLASSES:
            return _CLASSES[character]
        if character.isalnum():
            raise self._not_convertible(f"\\{character}")
        return _literal(character)

    def _class(self) -> str:
        negated = self._take("^")
        content = ""
        while not self._take("]"):
            character = self._next()
            if character == "\\":
                escaped = self._next()
                if escaped not in _CLASSES and escaped.isalnum():
                    raise self._not_convertible(f"\\{escaped}")
                character = _CLASSES.get(escaped, f"[{escaped}]")[1:-1]
                if character == "-":
                    raise self._not_convertible("an escaped - in brackets")
            elif character == "[":
                raise self._not_convertible("[ in brackets")
            content += character
        # Tags have none of these, and they have another meaning in patterns.
        content = "".join(one for one in content if one not in ",!^]")
        if not content:
            raise self._not_convertible("empty brackets")
        return f"[!{content}]" if negated else f"[{content}]"

    def _product(self, first: list[str], second: list[str]) -> list[str]:
        found = dict.fromkeys(_merged(one + other) for one in first for other in second)
        return list(self._bounded(found))

    def _bounded(self, found: Iterable[str]) -> Iterable[str]:
        patterns = list(found)
        if len(patterns) > _PATTERNS_MAXIMUM:
            raise self._not_convertible(f"more than {_PATTERNS_MAXIMUM} alternatives")
        return patterns

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self._at += 1
        return True

    def _next(self) -> str:
        character = self._peek()
        if not character:
            raise self._not_convertible("an incomplete expression")
        self._at += 1
        return character

    def _until(self, character: str) -> str:
        end = self._text.find(character, self._at)
        if end < 0:
            raise self._not_convertible("an incomplete expression")
        found = self._text[self._at : end]
        self._at = end + 1
        return found

    def _not_convertible(self, cause: str) -> NotConvertible:
        return NotConvertible(
            f"the regular expression '{self._text[:200]}' cannot be converted to patterns of a Unix"
            f" shell: {cause}"
        )


def _literal(character: str) -> str:
    if character in _SPECIAL:
        return f"[{character}]"
    if character == ",":
        raise NotConvertible("tags have no commas")
    return character


def _merged(pattern: str) -> str:
    """Return an equivalent pattern without repeated `*`."""
    while "**" in pattern:
        pattern = pattern.replace("**", "*")
    return pattern
