"""Settings of all tests."""

from __future__ import annotations

import hypothesis

# How long an example takes says what else the machine is doing, and nothing about the code.
hypothesis.settings.register_profile(
    "atoll", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("atoll")
