"""Severities of vulnerabilities, as Clair and Quay name them, and counts by severity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from typing_extensions import TypedDict


class Severity(IntEnum):
    """A severity. Members compare by how severe they are."""

    UNKNOWN = 0
    NEGLIGIBLE = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5

    @property
    def label(self) -> str:
        """The name in the APIs of Clair and Quay, such as `Critical`."""
        return self.name.capitalize()

    @classmethod
    def parse(cls, value: object) -> Severity:
        """Return the severity with a name in any case; UNKNOWN for any other value."""
        if not isinstance(value, str) or len(value) > _LABEL_MAXIMUM:
            return cls.UNKNOWN
        return cls.__members__.get(value.upper(), cls.UNKNOWN)

    @classmethod
    def of_cvss(cls, score: object) -> Severity | None:
        """Return the severity of a CVSS base score.

        The ranges are those of CVSS 3.1, section 5. Quay reports a score of 10 as unknown.

        Args:
            score: The score, from 0 to 10.

        Returns:
            The severity; None for a score of 0, which rates nothing, and for a value that is no
            score.
        """
        number = cvss_score(score)
        if not number:
            return None
        return next(severity for minimum, severity in _CVSS_RANGES if number >= minimum)

    @classmethod
    def of_level(cls, level: object) -> Severity:
        """Return the lowest severity that a subscription with `event_config.level` selects.

        Args:
            level: Quay's index of a severity, as a number or as digits: 0 is CRITICAL, 5 UNKNOWN.

        Returns:
            The severity; as in Quay, UNKNOWN (which selects all) for any other value.
        """
        if isinstance(level, bool) or not isinstance(level, int | str):
            return cls.UNKNOWN
        return next((one for one in cls if level in {one.level, str(one.level)}), cls.UNKNOWN)

    @property
    def level(self) -> int:
        """Quay's index of the severity: 0 for CRITICAL, 5 for UNKNOWN."""
        return self.CRITICAL - self


_LABEL_MAXIMUM = max(len(name) for name in Severity.__members__)
_CVSS_MAXIMUM = 10
# The lowest score of each severity.
_CVSS_RANGES = (
    (9.0, Severity.CRITICAL),
    (7.0, Severity.HIGH),
    (4.0, Severity.MEDIUM),
    (0.0, Severity.LOW),
)


def cvss_score(value: object) -> float | None:
    """Return a CVSS base score, from 0 to 10; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # A NaN fails this comparison, too.
    return float(value) if 0 <= value <= _CVSS_MAXIMUM else None


class SeverityCountsSchema(TypedDict):
    """The number of vulnerabilities of each severity, and of those with a fixed version."""

    Critical: int
    High: int
    Medium: int
    Low: int
    Negligible: int
    Unknown: int
    Fixable: int


@dataclass(frozen=True)
class SeverityCounts:
    """The number of vulnerabilities of each severity.

    `fixable` is the number of those of any severity for which there is a fixed version.
    """

    critical: int = 0
    high: int = 0
    medium: int = 0
    low: int = 0
    negligible: int = 0
    unknown: int = 0
    fixable: int = 0

    @classmethod
    def of(cls, vulnerabilities: Iterable[tuple[Severity, bool]]) -> SeverityCounts:
        """Count vulnerabilities.

        Args:
            vulnerabilities: The severity of each, and whether there is a fixed version.
        """
        found = list(vulnerabilities)
        numbers = Counter(severity.name.lower() for severity, _ in found)
        return cls(**numbers, fixable=sum(fixable for _, fixable in found))

    @classmethod
    def from_json(cls, stored: object) -> SeverityCounts:
        """Return counts that `as_json` returned; 0 for each that is missing or not a number."""
        values = stored if isinstance(stored, Mapping) else {}
        return cls(**{key.lower(): _number(values.get(key)) for key in _KEYS})

    def as_json(self) -> SeverityCountsSchema:
        """Return the counts with the labels of the severities as keys, worst first."""
        return {
            "Critical": self.critical,
            "High": self.high,
            "Medium": self.medium,
            "Low": self.low,
            "Negligible": self.negligible,
            "Unknown": self.unknown,
            "Fixable": self.fixable,
        }

    def number(self, severity: Severity) -> int:
        """Return the number of vulnerabilities of a severity."""
        return int(getattr(self, severity.name.lower()))

    def at_least(self, severity: Severity) -> int:
        """Return the number of vulnerabilities of a severity or a worse one."""
        return sum(self.number(one) for one in Severity if one >= severity)

    @property
    def worst(self) -> Severity | None:
        """The worst severity of all; None without vulnerabilities."""
        return max((one for one in Severity if self.number(one)), default=None)


_KEYS = tuple(SeverityCountsSchema.__annotations__)


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
