"""Load generators of `make bench`: what wrk and ab print."""

from __future__ import annotations

import pytest

from ..benchmark.errors import BenchmarkError
from ..benchmark.load import Load, Request

GET = Request("GET", "http://127.0.0.1:8080/v2/", {"Accept": "a/b"})
HEAD = Request("HEAD", "http://127.0.0.1:8080/v2/", {})

WRK = """\
Running 2s test @ http://127.0.0.1:8080/v2/
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.35ms    2.35ms  33.47ms   93.60%
    Req/Sec    10.82k     1.01k   12.30k    75.00%
  Latency Distribution
     50%  870.00us
     75%    1.74ms
     90%    2.20ms
     99%    1.02s
  21520 requests in 2.00s, 24.30MB read
Requests/sec:  10760.05
Transfer/sec:     12.17MB
"""
AB = """\
Concurrency Level:      16
Time taken for tests:   2.000 seconds
Complete requests:      3702
Failed requests:        0
Keep-Alive requests:    3702
Requests per second:    1851.00 [#/sec] (mean)
Time per request:       8.644 [ms] (mean)

Percentage of the requests served within a certain time (ms)
  50%      4
  66%      5
  99%     83
 100%     99 (longest request)
"""


def test_output_of_wrk_is_read_in_milliseconds() -> None:
    assert GET.read(WRK) == Load(21520, 10760.05, 0.87, 1020)


def test_output_of_ab_is_read() -> None:
    assert HEAD.read(AB) == Load(3702, 1851, 4, 83)


def test_head_is_sent_by_ab_and_get_by_wrk() -> None:
    assert GET.command(16, 2)[0] == "wrk"
    assert "Accept: a/b" in GET.command(16, 2)
    assert HEAD.command(1, 2)[:2] == ["ab", "-i"]


@pytest.mark.parametrize(
    "problem",
    [
        "  Non-2xx or 3xx responses: 12\n",
        "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
    ],
)
def test_errors_that_wrk_reports_end_the_benchmark(problem: str) -> None:
    with pytest.raises(BenchmarkError, match=problem.split(":", maxsplit=1)[0].strip()):
        GET.read(WRK.replace("Requests/sec", f"{problem}Requests/sec"))


def test_failures_that_ab_reports_end_the_benchmark() -> None:
    with pytest.raises(BenchmarkError, match="Failed requests"):
        HEAD.read(AB.replace("Failed requests:        0", "Failed requests:        7"))


@pytest.mark.parametrize("request_", [GET, HEAD], ids=["GET", "HEAD"])
def test_unknown_output_ends_the_benchmark(request_: Request) -> None:
    with pytest.raises(BenchmarkError, match="no measurement"):
        request_.read("unable to connect\n")
