"""Versions in tags, and ranges of versions.

A tag is a version if it has the form `[v]MAJOR.MINOR[.PATCH][-SUFFIX][_BUILD]`: `1.4` means
`1.4.0`, and `_` replaces the `+` of semantic versions, which tags cannot contain. A number alone,
such as `3` or `20240131`, is no version, because it usually names the latest release of a series.

The suffixes `-3` and `-r3` are revisions of a package: they follow the version without suffix. All
other suffixes are pre-releases and precede it, as in https://semver.org.

A range is a list of comparisons, separated by blanks or commas, all of which must hold;
alternatives are separated by `||`. A comparison has an operator and a version whose last numbers
may be omitted or be `x`:

- `=`, `!=`, `>`, `>=`, `<`, `<=`; without an operator, `1.4` means all versions 1.4.x.
- `~1.4.2` means 1.4.2 and later versions 1.4.x; `~1` means all versions 1.x.
- `^1.4.2` means 1.4.2 and later versions 1.x; `^0.4.2` means later versions 0.4.x.

A pre-release is in a range only if a comparison of the same alternative names a pre-release.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Numbers of more digits, such as hashes, are no versions.
_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_SUFFIX = r"[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?"
_VERSION = re.compile(
    rf"v?(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})(?:\.(?P<patch>{_NUMBER}))?"
    rf"(?:-(?P<suffix>{_SUFFIX}))?(?:_[0-9A-Za-z._-]+)?"
)
_REVISION = re.compile(rf"r?({_NUMBER})")
_COMPARISON = re.compile(
    rf"(?P<operator>=|!=|>=|<=|>|<|~|\^|)\s*v?"
    rf"(?P<numbers>(?:{_NUMBER}|[xX*])(?:\.(?:{_NUMBER}|[xX*])){{0,2}})(?:-(?P<suffix>{_SUFFIX}))?"
    r"(?:[\s,]+|$)"
)
_NUMBERS = 3
_WILDCARDS = frozenset({"x", "X", "*"})
_ALTERNATIVES_MAXIMUM = 50

# An identifier of a pre-release: numbers precede words.
_Identifier = tuple[int, int, str]
_Numbers = tuple[int, int, int]


@dataclass(frozen=True, order=True)
class Version:
    """A version; versions are ordered by precedence.

    Attributes:
        numbers: Major, minor and patch number.
        is_release: Whether it is no pre-release.
        pre_release: The identifiers of a pre-release.
        revision: The revision of a package; 0 if there is none.
    """

    numbers: _Numbers
    is_release: bool = True
    pre_release: tuple[_Identifier, ...] = ()
    revision: int = 0

    @classmethod
    def parse(cls, tag: str) -> Version | None:
        """Return the version in a tag; None if the tag is no version."""
        match = _VERSION.fullmatch(tag)
        if match is None:
            return None
        numbers = int(match["major"]), int(match["minor"]), int(match["patch"] or 0)
        return cls.of(numbers, match["suffix"])

    @classmethod
    def of(cls, numbers: _Numbers, suffix: str | None) -> Version:
        """Return the version with these numbers and this suffix."""
        if suffix is None:
            return cls(numbers)
        if revision := _REVISION.fullmatch(suffix):
            return cls(numbers, revision=int(revision[1]))
        identifiers = tuple(_identifier(part) for part in suffix.split("."))
        return cls(numbers, is_release=False, pre_release=identifiers)


def _identifier(text: str) -> _Identifier:
    # A longer number is compared as a word, because it is a hash or a date.
    return (0, int(text), "") if re.fullmatch(r"[0-9]{1,18}", text) else (1, 0, text)


class InvalidRange(ValueError):
    """A range of versions is malformed."""


@dataclass(frozen=True)
class _Comparison:
    """A lower bound, an exclusive upper bound, or the exclusion of the versions between them."""

    lowest: Version | None = None
    below: Version | None = None
    excluded: bool = False
    names_pre_release: bool = False

    def contains(self, version: Version) -> bool:
        inside = (self.lowest is None or version >= self.lowest) and (
            self.below is None or version < self.below
        )
        return inside != self.excluded


@dataclass(frozen=True)
class VersionRange:
    """A set of versions."""

    _alternatives: tuple[tuple[_Comparison, ...], ...]

    @classmethod
    def parse(cls, text: str) -> VersionRange:
        """Parse a range.

        Raises:
            InvalidRange: The range is malformed.
        """
        parts = text.split("||")
        if len(parts) > _ALTERNATIVES_MAXIMUM:
            raise InvalidRange(f"a range may have at most {_ALTERNATIVES_MAXIMUM} alternatives")
        return cls(tuple(_comparisons(part, text) for part in parts))

    def contains(self, version: Version) -> bool:
        """Return whether a version is in the range."""
        return any(
            all(one.contains(version) for one in comparisons)
            and (version.is_release or any(one.names_pre_release for one in comparisons))
            for comparisons in self._alternatives
        )


def _comparisons(part: str, text: str) -> tuple[_Comparison, ...]:
    rest, found = part.strip(), []
    while rest:
        match = _COMPARISON.match(rest)
        if match is None:
            break
        found.append(_comparison(match["operator"], match["numbers"], match["suffix"], text))
        rest = rest[match.end() :]
    if rest or not found:
        raise _invalid(text)
    return tuple(found)


def _comparison(operator: str, numbers: str, suffix: str | None, text: str) -> _Comparison:
    given = []
    for number in numbers.split("."):
        if number in _WILDCARDS:
            break
        given.append(int(number))
    if suffix is not None and len(given) < _NUMBERS:
        raise _invalid(text)
    first, end = _bounds(given, suffix)
    if operator == ">" and end is None:
        raise _invalid(text)
    # `^` keeps the first number that is not 0.
    fixed = next((place + 1 for place, one in enumerate(given) if one), len(given))
    lowest, below = {
        "": (first, end),
        "=": (first, end),
        "!=": (first, end),
        ">=": (first, None),
        ">": (end, None),
        "<": (None, first),
        "<=": (None, end),
        "~": (first, _next(given[:2])),
        "^": (first, _next(given[:fixed])),
    }[operator]
    named = not first.is_release and operator != "!="
    return _Comparison(lowest, below, excluded=operator == "!=", names_pre_release=named)


def _bounds(given: list[int], suffix: str | None) -> tuple[Version, Version | None]:
    """Return the first of the versions that begin with these numbers, and the first after them."""
    padded = given + [0] * (_NUMBERS - len(given))
    numbers = padded[0], padded[1], padded[2]
    if suffix is None:
        # A version without revision includes its revisions.
        return Version(numbers), _next(given)
    first = Version.of(numbers, suffix)
    if first.is_release:
        return first, Version(numbers, revision=first.revision + 1)
    # No version is between a pre-release and the same one with a further, lowest identifier.
    return first, Version(numbers, is_release=False, pre_release=(*first.pre_release, (0, -1, "")))


def _next(given: list[int]) -> Version | None:
    """Return the first version, pre-releases included, after those that begin with the numbers."""
    if not given:
        return None
    increased = [*given[:-1], given[-1] + 1] + [0] * (_NUMBERS - len(given))
    lowest = increased[0], increased[1], increased[2]
    return Version(lowest, is_release=False)


def _invalid(text: str) -> InvalidRange:
    return InvalidRange(
        f"'{text[:200]}' is not a range of versions; write it like '>=1.2 <2', '^1.4', '~1.4.2' or"
        " '1.x || 2.1'"
    )
