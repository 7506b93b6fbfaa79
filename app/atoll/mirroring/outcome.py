"""How a run of a mirror ended."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from atoll.mirroring.mirror_records import CANCEL, FAIL, SUCCESS
from atoll.mirroring.problems import TOO_MANY_DELETIONS

CANCELLED, PARTIAL, UPSTREAM_EMPTY = "cancelled", "partial", "upstream_empty"
ROBOT_NOT_ALLOWED, AUTH_FAILED = "robot_not_allowed", "auth_failed"
PLAN_INTERRUPTED = "plan_interrupted"

# After this number of claims without an outcome a plan or a copy fails: it may be what kills the
# process, and with it the work for other mirrors. A large image continues with its next part after
# each interruption, so many of them do not mean that it is the cause.
LOST_PLANS_MAXIMUM, LOST_COPIES_MAXIMUM = 5, 100
# Seconds before each retry of a run or a tag, and their random deviation as a share.
RETRY_SECONDS = (60.0, 300.0, 900.0)
RETRIES = len(RETRY_SECONDS)
_JITTER = 0.2
# Characters of a message.
_MESSAGE_MAXIMUM = 1000
# A message names this number of tags at most.
_NAMED_MAXIMUM = 10


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: SUCCESS, FAIL or CANCEL.
        reason: The code of the failure; None after a success.
        message: A text for people.
        is_temporary: Whether the run is to be retried before its next date.
    """

    status: str
    reason: str | None = None
    message: str | None = None
    is_temporary: bool = False


SUCCEEDED = Outcome(SUCCESS)
STOPPED = Outcome(CANCEL, CANCELLED, "the run was cancelled")


def failed(reason: str, message: str, *, is_temporary: bool = False) -> Outcome:
    """Return the outcome of a run that failed."""
    return Outcome(FAIL, reason, stored_text(message), is_temporary)


def failed_tags(reasons: Mapping[str, str], selected: int) -> Outcome:
    """Return the outcome of a run whose tags could not all be copied.

    Tags were retried already, so the run is not.

    Args:
        reasons: The code of the failure of each failed tag.
        selected: The number of selected tags.
    """
    codes = sorted(set(reasons.values()))
    is_common = len(codes) == 1 and len(reasons) == selected
    return failed(
        codes[0] if is_common else PARTIAL,
        f"{len(reasons)} of {selected} tags were not copied ({', '.join(codes)}):"
        f" {_named(reasons)}",
    )


def undated_tags(tags: Collection[str]) -> str:
    """Return the message of a run whose rule depends on the dates of images that have none."""
    return stored_text(
        f"{len(tags)} tags have images without a readable date, which the rule needs; they were"
        f" neither copied nor deleted: {_named(tags)}"
    )


def too_many_deletions(ended: int, existing: int) -> Outcome:
    """Return the outcome of a run that would delete too many tags."""
    return failed(
        TOO_MANY_DELETIONS,
        f"{ended} of {existing} tags would be deleted; none was, until the deletions are confirmed",
    )


def retry_seconds(failures: int) -> float:
    """Return the pause before a retry.

    Args:
        failures: The number of failures so far, from 1 to RETRIES.
    """
    seconds = RETRY_SECONDS[min(max(failures, 1), RETRIES) - 1]
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311


def _named(tags: Collection[str]) -> str:
    """Return tags by name, as a text of limited length."""
    named = ", ".join(sorted(tags)[:_NAMED_MAXIMUM])
    more = len(tags) - _NAMED_MAXIMUM
    return f"{named} and {more} more" if more > 0 else named


def stored_text(text: str) -> str:
    """Return a text as PostgreSQL stores it."""
    return text[:_MESSAGE_MAXIMUM].replace("\0", "")
