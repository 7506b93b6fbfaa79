"""Users read texts of Atoll about failures of mirrors, not those of errors."""

from __future__ import annotations

import pytest
from atoll.mirroring.copying import copy_errors
from atoll.mirroring.outcome import PLAN_INTERRUPTED
from atoll.mirroring.problems import PROBLEMS, TOO_MANY_DELETIONS, problem_text
from atoll.upstream import errors


def codes(module: object, base: type[Exception]) -> set[str]:
    return {
        one.code  # type: ignore[attr-defined]
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, base)
    }


@pytest.mark.parametrize(
    "code",
    sorted(
        codes(errors, errors.UpstreamError)
        | codes(copy_errors, copy_errors.CopyError)
        | {TOO_MANY_DELETIONS, PLAN_INTERRUPTED}
    ),
)
def test_each_failure_has_a_text(code: str) -> None:
    assert code in PROBLEMS
    assert len(problem_text(code)) < 100


def test_a_failure_without_a_text_is_an_internal_error() -> None:
    assert problem_text("KeyError: 10.1.2.3") == PROBLEMS["unknown_error"]
