"""The schema's history; see `atoll.db.migrate`."""
