"""Hashes whose state can be stored, so that another process continues them.

Python's hashlib cannot export the state of a hash. Its own OpenSSL can, by functions that exist in
all versions of libcrypto since 0.9.8 and are not loaded if a build leaves them out.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from functools import cache

from atoll.names import Digest

# The size in bytes of the C structures SHA256_CTX and SHA512_CTX, and of the digests.
_CONTEXTS = {"sha256": (112, 32), "sha512": (216, 64)}
_LIBRARY = "libcrypto.so.3"
# The state consists of integers of the machine.
_FORMAT = f"{sys.byteorder}:".encode()


class ResumableHash:
    """A hash like those of hashlib.

    Args:
        digest: The digest, for its algorithm.
        state: The result of `state` in another process; None for a new hash.
    """

    def __init__(self, digest: Digest, state: bytes | None = None) -> None:
        self._size, self._length = _CONTEXTS[digest.algorithm]
        self._name = digest.algorithm.upper()
        self._library = _library()
        self._plain = None
        if self._library is None:
            self._plain = digest.hasher()
            return
        self._context = ctypes.create_string_buffer(self._size)
        if state is None:
            self._call("Init", self._context)
        else:
            self._context.raw = state.removeprefix(_FORMAT)

    def update(self, data: bytes | memoryview) -> None:
        """Feed bytes to the hash; a view must be writable."""
        if self._plain is not None:
            self._plain.update(data)
            return
        size = len(data)
        given = data if isinstance(data, bytes) else (ctypes.c_char * size).from_buffer(data)
        self._call("Update", self._context, given, ctypes.c_size_t(size))

    def hexdigest(self) -> str:
        """Return the hash of the bytes so far, in hexadecimal."""
        if self._plain is not None:
            return self._plain.hexdigest()
        copy = ctypes.create_string_buffer(self._context.raw, self._size)
        result = ctypes.create_string_buffer(self._length)
        self._call("Final", result, copy)
        return result.raw.hex()

    def state(self) -> bytes | None:
        """Return the state; None if it cannot be stored on this machine."""
        return None if self._plain is not None else _FORMAT + self._context.raw

    def _call(self, function: str, *arguments: object) -> None:
        if getattr(self._library, f"{self._name}_{function}")(*arguments) != 1:
            raise RuntimeError(f"{self._name}_{function} failed")


def is_usable(state: bytes | None, digest: Digest) -> bool:
    """Return whether a stored state can be continued on this machine."""
    size = len(_FORMAT) + _CONTEXTS[digest.algorithm][0]
    return (
        state is not None
        and _library() is not None
        and state.startswith(_FORMAT)
        and len(state) == size
    )


@cache
def _library() -> ctypes.CDLL | None:
    """Return the library, if it computes the same hashes as hashlib."""
    try:
        library = ctypes.CDLL(_LIBRARY)
        for name, (size, length) in _CONTEXTS.items():
            context, result = (ctypes.create_string_buffer(each) for each in (size, length))
            for function, arguments in (
                ("Init", (context,)),
                ("Update", (context, b"abc", ctypes.c_size_t(3))),
                ("Final", (result, context)),
            ):
                getattr(library, f"{name.upper()}_{function}")(*arguments)
            if result.raw != hashlib.new(name, b"abc").digest():
                return None
    except (OSError, AttributeError):
        return None
    return library
