"""The error of the benchmark."""


class BenchmarkError(Exception):
    """A measurement is impossible or would be wrong."""
