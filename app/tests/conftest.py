"""Settings of all tests."""

from __future__ import annotations

import hypothesis

# The duration of an example depends on the load of the machine more than on the code.
hypothesis.settings.register_profile(
    "atoll", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("atoll")
