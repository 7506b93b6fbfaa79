"""Quay's API: `METHOD /api/v1/<noun>/…` is `on_<method>` in `<noun>.py`."""
