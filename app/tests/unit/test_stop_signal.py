"""A process notices each request to stop, at whatever moment the signal arrives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from atoll.server.stop_signal import StopSignal


@pytest.fixture
def handlers() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_requests_the_stop(number: signal.Signals) -> None:
    stop = StopSignal()
    stop.listen()
    assert not stop.wait(0)
    assert not stop.is_set()
    os.kill(os.getpid(), number)
    assert stop.wait(60)
    assert stop.is_set()
    assert stop.wait()


# Receives signals at every moment of waiting. With threading.Event it hangs after a few.
HAMMERED = """
import os, signal, subprocess, sys
from atoll.server.stop_signal import StopSignal
received = []
stop = StopSignal()
def handle(*_signal):
    received.append(1)
    stop.set()
signal.signal(signal.SIGTERM, handle)
sender = subprocess.Popen([sys.executable, "-c", '''
import os, sys, time
for _ in range(1000):
    os.kill(int(sys.argv[1]), 15)
    time.sleep(0.0002)
''', str(os.getpid())])
while sender.poll() is None:
    stop.wait(0.00001)
    stop._is_set = False
print(len(received) > 0)
"""


def test_a_signal_during_any_step_of_waiting_blocks_nothing() -> None:
    hammered = subprocess.run(
        [sys.executable, "-c", HAMMERED], capture_output=True, text=True, timeout=60, check=True
    )
    assert hammered.stdout.strip() == "True"
