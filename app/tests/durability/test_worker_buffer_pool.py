"""Buffers are granted in order, so that small parts do not delay a large one."""

from __future__ import annotations

import threading

from atoll.replication.buffer_pool import BufferPool

from ..integration.services import wait_until


def test_a_buffer_beyond_the_limit_is_granted_despite_a_steady_flow_of_others() -> None:
    pool = BufferPool(100, 10)
    flowing, taken = threading.Event(), threading.Event()

    def flow() -> None:
        # Each thread holds its buffer until it has the next one, so one is always in use.
        held = pool.acquire(10, wait=True)
        while not taken.is_set():
            following = pool.acquire(10, wait=False)
            flowing.set()
            if following is None:
                # Copies wait for a buffer only while they hold none.
                assert held is not None
                pool.release(held)
                held = pool.acquire(10, wait=True)
                continue
            assert held is not None
            pool.release(held)
            held = following
        assert held is not None
        pool.release(held)

    def take_large() -> None:
        buffer = pool.acquire(500, wait=True)
        assert buffer is not None
        taken.set()
        pool.release(buffer)

    threads = [threading.Thread(target=flow, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    flowing.wait()
    large = threading.Thread(target=take_large, daemon=True)
    large.start()
    wait_until("the large buffer is granted", taken.is_set, seconds=60)
    for thread in (*threads, large):
        thread.join()
    assert pool._used == 0


def test_a_non_blocking_request_is_refused_while_others_wait() -> None:
    pool = BufferPool(100, 10)
    first = pool.acquire(60, wait=False)
    assert first is not None
    given = threading.Event()

    def take() -> None:
        pool.acquire(60, wait=True)
        given.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    wait_until("it waits", lambda: len(pool._waiting) == 1)
    assert pool.acquire(10, wait=False) is None
    pool.release(first)
    assert given.wait(60)
    assert pool.acquire(10, wait=False) is not None
