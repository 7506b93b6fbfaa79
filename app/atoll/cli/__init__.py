"""The command line: the only place that builds the object graph."""
