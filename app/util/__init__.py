"""The commands that Quay's runbooks type as `python -m util.NAME`, in the words of those pages."""
