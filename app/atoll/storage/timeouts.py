"""Time-outs for requests that join the parts of an object or copy an object.

Most stores only write an index. Some copy the bytes, and send nothing until they are done.
"""

from __future__ import annotations

# The shortest and the longest time-out, in seconds.
_LEAST = 10
_MOST = 640
# The slowest rate at which a store copies, in bytes per second.
_RATE = 16 * 2**20


def assembly_seconds(size: int) -> int:
    """Return the time-out in seconds for joining or copying an object of `size` bytes.

    It is one of few values, since each needs a client of its own: 10, 20, 40, ..., 640.
    """
    seconds = _LEAST
    while seconds < min(_LEAST + size / _RATE, _MOST):
        seconds *= 2
    return seconds
