"""Requests in a loop: the commands of wrk and ab, and what they print."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import BenchmarkError

_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
_COUNT = re.compile(r"^\s*(\d+) requests in ", re.MULTILINE)
_RATE = re.compile(r"^Requests/sec:\s*([\d.]+)", re.MULTILINE)
_PERCENTILE = re.compile(r"^\s*(50|99)%\s+([\d.]+)(us|ms|s|m)?\s*$", re.MULTILINE)
_WRK_PROBLEM = re.compile(r"^\s*(?:Non-2xx or 3xx responses|Socket errors): .*$", re.MULTILINE)
_AB_COUNT = re.compile(r"^Complete requests:\s*(\d+)", re.MULTILINE)
_AB_RATE = re.compile(r"^Requests per second:\s*([\d.]+)", re.MULTILINE)
_AB_PROBLEM = re.compile(r"^(?:Failed requests|Write errors):\s*[1-9]\d*", re.MULTILINE)
# ab sends at most this number of requests, so that the time ends the run.
_AB_MAXIMUM = 10_000_000


@dataclass(frozen=True)
class Load:
    """What a load generator measured.

    Attributes:
        requests: the number of requests.
        rate: the requests per second.
        median: the median time of a request in ms.
        slow: the time in ms that one request in a hundred exceeds.
    """

    requests: int
    rate: float
    median: float
    slow: float


@dataclass(frozen=True)
class Request:
    """A request that is sent in a loop.

    Attributes:
        method: GET or HEAD.
        url: the URL.
        headers: the headers by name.
    """

    method: str
    url: str
    headers: Mapping[str, str]

    def command(self, connections: int, seconds: int) -> list[str]:
        """Return the words of the program that sends the request.

        wrk waits for a body after HEAD, so ab sends those.
        """
        headers = [
            word for name in self.headers for word in ("-H", f"{name}: {self.headers[name]}")
        ]
        if self.method == "GET":
            timing = ["--threads=1", f"--connections={connections}", f"--duration={seconds}s"]
            return ["wrk", "--latency", *timing, *headers, self.url]
        timing = ["-c", str(connections), "-t", str(seconds), "-n", str(_AB_MAXIMUM)]
        return ["ab", "-i", "-k", "-q", *timing, *headers, self.url]

    def read(self, output: str) -> Load:
        """Return what the program of `command` printed.

        Raises:
            BenchmarkError: it printed errors, or nothing that this function knows.
        """
        count, rate, problem = _COUNT, _RATE, _WRK_PROBLEM
        if self.method != "GET":
            count, rate, problem = _AB_COUNT, _AB_RATE, _AB_PROBLEM
        if failed := problem.search(output):
            raise BenchmarkError(f"{self.method} {self.url}: {failed[0].strip()}")
        counted, rated = count.search(output), rate.search(output)
        percentiles = {
            name: float(value) * _UNITS[unit or "ms"]
            for name, value, unit in _PERCENTILE.findall(output)
        }
        if not counted or not rated or set(percentiles) != {"50", "99"} or not int(counted[1]):
            raise BenchmarkError(f"{self.method} {self.url}: no measurement:\n{output}")
        return Load(int(counted[1]), float(rated[1]), percentiles["50"], percentiles["99"])
