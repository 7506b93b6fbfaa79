"""Commands that Quay's runbooks run as `python -m util.NAME`, with Quay's messages."""
