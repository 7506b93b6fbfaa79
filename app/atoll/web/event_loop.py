"""The I/O loop of a waitress server, on epoll.

waitress asks every connection before each wait what to wait for, and a thread that has answered a
request wakes the loop to be asked. Here the kernel keeps what each connection waits for. A
connection is asked when its state changes, by the thread that changed it, which does not wake the
loop.
"""

from __future__ import annotations

import select
import threading
import time
from typing import Any

from waitress import wasyncore

_READ = select.EPOLLIN | select.EPOLLPRI
_BROKEN = select.EPOLLERR | select.EPOLLHUP
# Seconds after which every connection is asked again. waitress closes idle ones by changing their
# state without a call.
_SCAN_SECONDS = 1.0


class Channels(dict[int, Any]):
    """waitress' map of its connections and listeners, by file descriptor.

    Keeps its loop informed of what is added and removed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = EventLoop(self)

    def __setitem__(self, descriptor: int, channel: Any) -> None:
        """Add a connection or listener."""
        super().__setitem__(descriptor, channel)
        self.loop.forget(descriptor)

    def __delitem__(self, descriptor: int) -> None:
        """Remove a connection or listener that is about to be closed."""
        super().__delitem__(descriptor)
        self.loop.forget(descriptor)


class EventLoop:
    """Waits for events of channels and handles them, like `waitress.wasyncore`.

    The kernel reports one event of a channel and then waits for nothing more until `update`.
    """

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._epoll = select.epoll()
        # What the kernel waits for, by descriptor.
        self._awaited: dict[int, int] = {}
        self._lock = threading.Lock()
        self._scan_at = 0.0

    # The parameters of `wasyncore.loop`.
    def loop(self, timeout: float, map: Channels, use_poll: bool) -> None:  # noqa: A002
        """Handle events until there are no more channels.

        Args:
            timeout: the longest time to wait for an event, in seconds.
            map: ignored; the channels are known.
            use_poll: ignored.
        """
        del map, use_poll
        while self._channels:
            self._step(timeout)

    def update(self, channel: Any) -> None:
        """Ask a channel what to wait for; called by any thread after a change of its state."""
        descriptor = channel._fileno
        with self._lock:
            # The channel may be closed, and another one may have its descriptor.
            if descriptor is None or self._channels.get(descriptor) is not channel:
                return
            wanted = _wanted(channel)
            if wanted and wanted != self._awaited.get(descriptor, 0):
                self._await(descriptor, wanted)

    def forget(self, descriptor: int) -> None:
        """Forget what the kernel waits for; it forgets a descriptor that is closed."""
        with self._lock:
            self._awaited.pop(descriptor, None)
        # A new channel has to be asked, and a listener waits for room while there are too many.
        self._scan_at = 0.0

    def _await(self, descriptor: int, wanted: int) -> None:
        try:
            self._epoll.modify(descriptor, wanted | select.EPOLLONESHOT)
        except FileNotFoundError:
            self._epoll.register(descriptor, wanted | select.EPOLLONESHOT)
        except OSError:
            # Closed by the loop in this moment.
            return
        self._awaited[descriptor] = wanted

    def _step(self, timeout: float) -> None:
        now = time.monotonic()
        if now >= self._scan_at:
            self._scan_at = now + _SCAN_SECONDS
            for channel in list(self._channels.values()):
                self.update(channel)
        for descriptor, events in self._epoll.poll(timeout):
            # Before the channel is asked, so that an update by another thread is not lost.
            with self._lock:
                self._awaited[descriptor] = 0
            channel = self._channels.get(descriptor)
            if channel is None:
                continue
            # A thread may have changed the state after the event.
            wanted = _wanted(channel)
            if wanted:
                wasyncore.readwrite(channel, events & (wanted | _BROKEN))
            self.update(channel)


def _wanted(channel: Any) -> int:
    wanted = _READ if channel.readable() else 0
    # Listeners are never writable.
    if channel.writable() and not channel.accepting:
        wanted |= select.EPOLLOUT
    return wanted
