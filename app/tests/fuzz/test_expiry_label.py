"""The expiry label of any image configuration yields seconds within bounds, or None."""

from __future__ import annotations

import io

from atoll.registry.expiry_label import EXPIRES_AFTER, expires_after
from hypothesis import strategies as st

from .fuzzing import fuzz
from .mutation import mutated_json, texts

_DURATION = texts(st.sampled_from(["1h", "2d", "3w", "10m", "5s"]))
VALID = _DURATION.map(lambda text: {"config": {"Labels": {EXPIRES_AFTER: text}}})


def check(content: bytes) -> None:
    seconds = expires_after(io.BytesIO(content), len(content))
    assert seconds is None or 0 < seconds <= 36_500 * 86_400


def test_any_configuration_yields_a_bounded_expiry_or_none() -> None:
    fuzz(check, mutated_json(VALID) | st.binary(max_size=200))
