"""The audit log of actions and pulls: writing, exporting, rotating."""
