"""The OCI distribution API: `METHOD /v2/<name>/<noun>/…` is `on_<method>` in `<noun>.py`."""
