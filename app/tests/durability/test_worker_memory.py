"""Buffers are given out in order, so that a large part is not kept waiting by small ones."""

from __future__ import annotations

import threading

from atoll.replication.buffer_pool import BufferPool

from ..integration.services import wait_until


def test_a_buffer_beyond_the_limit_is_given_out_in_a_steady_flow_of_others() -> None:
    memory = BufferPool(100, 10)
    flowing, taken = threading.Event(), threading.Event()

    def flow() -> None:
        # Each holds its buffer until it has the next one: there is always one in use.
        held = memory.take(10, wait=True)
        while not taken.is_set():
            following = memory.take(10, wait=False)
            flowing.set()
            if following is None:
                # As a copy does, which only waits while it holds nothing.
                assert held is not None
                memory.give(held)
                held = memory.take(10, wait=True)
                continue
            assert held is not None
            memory.give(held)
            held = following
        assert held is not None
        memory.give(held)

    def take_large() -> None:
        buffer = memory.take(500, wait=True)
        assert buffer is not None
        taken.set()
        memory.give(buffer)

    threads = [threading.Thread(target=flow, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    flowing.wait()
    large = threading.Thread(target=take_large, daemon=True)
    large.start()
    wait_until("the large buffer is given out", taken.is_set, seconds=60)
    for thread in (*threads, large):
        thread.join()
    assert memory._used == 0


def test_a_request_that_does_not_wait_is_refused_while_others_do() -> None:
    memory = BufferPool(100, 10)
    first = memory.take(60, wait=False)
    assert first is not None
    given = threading.Event()

    def take() -> None:
        memory.take(60, wait=True)
        given.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    wait_until("it waits", lambda: len(memory._waiting) == 1)
    assert memory.take(10, wait=False) is None
    memory.give(first)
    assert given.wait(60)
    assert memory.take(10, wait=False) is not None
