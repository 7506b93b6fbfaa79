"""Patterns of tags in the syntax of a Unix shell: `*`, `?`, `[0-9]` and `[!0-9]`.

The tags of an upstream may be many, so the patterns of a rule are compiled once: names to a set,
all others to one regular expression. A `*` before other characters makes a pattern search the tag
for them; the length of such patterns is limited in total (SEARCHES_MAXIMUM). With that, a tag of
128 characters takes less than four times as long with the slowest list that is permitted as with
500 patterns without `*`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from functools import lru_cache

# Limits of a list: the number of patterns, the characters of one, and those of all patterns that
# have a `*` before their last character.
PATTERNS_MAXIMUM = 500
PATTERN_LENGTH = 255
SEARCHES_MAXIMUM = 500

# Characters of tags, and those that have a meaning in patterns. Others would select nothing, and
# would appear in log entries and messages.
_PATTERN = re.compile(r"[A-Za-z0-9_.*?\[\]!-]+")
_SPECIAL = re.compile(r"[*?\[]")


def check_patterns(patterns: Sequence[str]) -> None:
    """Check that a list of patterns is permitted.

    Raises:
        ValueError: There are too many, or one has characters that tags cannot have.
    """
    if len(patterns) > PATTERNS_MAXIMUM:
        raise ValueError(f"may have at most {PATTERNS_MAXIMUM} patterns")
    for one in patterns:
        if len(one) > PATTERN_LENGTH:
            raise ValueError(f"a pattern may have at most {PATTERN_LENGTH} characters")
        if not _PATTERN.fullmatch(one):
            raise ValueError(
                "a pattern may have letters, digits, and the characters . _ - * ? [ ] ! only"
            )
    if sum(len(one) for one in patterns if "*" in one[:-1]) > SEARCHES_MAXIMUM:
        raise ValueError(
            "the patterns with * before other characters may have at most"
            f" {SEARCHES_MAXIMUM} characters in total"
        )


@lru_cache(maxsize=16)
def matcher(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Return a function that reports whether a tag matches one of the patterns."""
    names = frozenset(one for one in patterns if not _SPECIAL.search(one))
    others = dict.fromkeys(_merged(one) for one in patterns if _SPECIAL.search(one))
    if not others:
        return names.__contains__
    expression = re.compile("|".join(map(translate, others)))
    return lambda tag: tag in names or expression.match(tag) is not None


def _merged(pattern: str) -> str:
    """Return an equivalent pattern without repeated `*`."""
    return re.sub(r"\*+", "*", pattern)
