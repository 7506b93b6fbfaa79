"""How long a store may be silent while it makes one object of parts, or copies an object.

Most stores only write an index then. Some copy the bytes, and send nothing before they are done.
"""

from __future__ import annotations

# Seconds for an answer to anything else, and the most for an object of any size.
_LEAST = 10
_MOST = 640
# Bytes a second that a store copies at least.
_RATE = 16 * 2**20


def assembly_seconds(size: int) -> int:
    """Return the time-out, in seconds, for a request that makes an object of SIZE bytes.

    There are only some: 10, 20, 40, ..., 640.
    """
    seconds = _LEAST
    while seconds < min(_LEAST + size / _RATE, _MOST):
        seconds *= 2
    return seconds
