"""The life cycle of a location: use, drain, removal, loss."""
