"""The command line of `make bench`; see `make bench ARGUMENTS=--help`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import images
import yaml
from commands import CACHE, REPOSITORY, alone
from errors import LabError
from progress import Steps

from ..integration.services import podman_client, remove_leftovers
from .arena import POSTGRES_IMAGE, REDIS_IMAGE, TOOLS_IMAGE, Arena
from .atoll_site import AtollSites, Variant
from .errors import BenchmarkError
from .image_ids import held_images
from .machine import busy_share, describe_machine, describe_programs
from .page import render
from .parts import PARTS
from .results import Results
from .session import Session
from .store import STORE_IMAGE
from .tables import print_tables

_PAGE = REPOSITORY / "docs/reference/benchmarks.md"
_RESULTS = CACHE / "benchmark.json"
_IMAGES = ("registry", "postgres", "redis", "object-store", "benchmark")
# Fewer rounds are for experiments.
_ROUNDS = 5
_BUSY = 0.1


def main() -> int:
    """Run the command line, and return the exit status."""
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    if arguments.read is not None:
        results, status = _read(arguments.read), 0
    else:
        results = Results()
        status = _measure_and_save(arguments, results)
    if results.samples:
        print_tables(results)
    if status:
        return status
    if arguments.page or _is_complete(results, arguments):
        _PAGE.write_text(render(results))
        sys.stdout.write(f"{_PAGE.relative_to(REPOSITORY)}: written\n")
    return 0


def _read(file: Path) -> Results:
    try:
        return Results.from_json(json.loads(file.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"{file} does not have the results of `make bench`: {error}")


def _measure_and_save(arguments: argparse.Namespace, results: Results) -> int:
    """Measure, write the results even if they are incomplete, and return the exit status."""
    status = 0
    try:
        _measure(arguments, results)
    except (BenchmarkError, LabError) as error:
        sys.stderr.write(f"\n{error}\n")
        status = 1
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted.\n")
        status = 130
    if results.samples:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results.as_json(), indent=1))
    return status


def _interrupt(*_signal: object) -> NoReturn:
    raise KeyboardInterrupt


def _is_complete(results: Results, arguments: argparse.Namespace) -> bool:
    """Return whether results are those of the released image, and of all parts."""
    return (
        results.parts() == set(PARTS)
        and arguments.rounds >= _ROUNDS
        and _variant(arguments) == Variant()
        and not arguments.read
    )


def _variant(arguments: argparse.Namespace) -> Variant:
    keys = {name: yaml.safe_load(value) for name, value in arguments.key}
    far_keys = {name: yaml.safe_load(value) for name, value in arguments.far_key}
    changes = {"image": arguments.image} if arguments.image else {}
    return Variant(keys=keys, far_keys=far_keys, environment=dict(arguments.env), **changes)


def _measure(arguments: argparse.Namespace, results: Results) -> None:
    """Add the measurements to results; also those before an error."""
    wanted = [name for name in PARTS if name in (arguments.only or PARTS)]
    variant = _variant(arguments)
    with Steps() as steps, alone("benchmark"):
        results.machine = describe_machine()
        _warn_if_busy(steps, results)
        images.build(steps, list(_IMAGES[1:] if arguments.image else _IMAGES))
        with podman_client() as client:
            remove_leftovers(client)
        with _directory(wanted) as directory:
            tags = (variant.image, STORE_IMAGE, TOOLS_IMAGE, POSTGRES_IMAGE, REDIS_IMAGE)
            with held_images(tags) as ids, Arena(directory, _rclone(), ids).running() as arena:
                sites = AtollSites(arena, variant)
                _measure_parts(arguments, steps, arena, sites, results, wanted)


def _measure_parts(
    arguments: argparse.Namespace,
    steps: Steps,
    arena: Arena,
    sites: AtollSites,
    results: Results,
    wanted: list[str],
) -> None:
    began = time.monotonic()
    for number, name in enumerate(wanted, 1):
        part = PARTS[name]
        with steps.step(f"{number}/{len(wanted)} Measure {part.title}") as step:
            # A part would be delayed by what the one before it has to write to the disk.
            os.sync()
            arena.use_store(tcp_nodelay=part.tcp_nodelay)
            session = Session(
                arena,
                sites,
                results,
                arguments.rounds,
                arguments.seconds,
                arguments.load_seconds,
                arguments.large_mib,
                step.show_briefly,
            )
            part.measure(session)
        if number == 1:
            results.machine |= describe_programs(arena, sites.variant.image)
    minutes = (time.monotonic() - began) / 60
    load = f", with {arguments.load_seconds} s of load in memory" if "memory" in wanted else ""
    results.machine["run"] = (
        f"{arguments.rounds} rounds of {', '.join(wanted)} in {minutes:.0f} min{load}"
    )


def _warn_if_busy(steps: Steps, results: Results) -> None:
    busy = busy_share()
    results.machine["other processes"] = f"{100 * busy:.0f} % of the processors before the run"
    if busy > _BUSY:
        steps.console.print(
            f"Other processes use {100 * busy:.0f} % of the processors; the figures will be wrong."
        )


@contextmanager
def _directory(parts: list[str]) -> Iterator[Path]:
    """Yield a directory for all files of the run."""
    needed = max(PARTS[name].gibibytes for name in parts)
    CACHE.mkdir(exist_ok=True)
    free = shutil.disk_usage(CACHE).free / 2**30
    if free < needed:
        raise BenchmarkError(
            f"{free:.0f} GiB of disk space are free, and {needed} GiB are needed; make space, or"
            " measure other parts with ONLY=PART"
        )
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=CACHE) as directory:
        yield Path(directory)


def _rclone() -> Path:
    program = shutil.which("rclone", path=sysconfig.get_path("scripts"))
    if program is None:
        raise BenchmarkError("rclone is not installed; run `make setup`")
    return Path(program).resolve()


def _assignment(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form NAME=VALUE")
    return name, value


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive number")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench",
        description="Compare Atoll with docker-registry and with the limits of this machine.",
        epilog="PARTs: " + "; ".join(f"{name}: {part.title}" for name, part in PARTS.items()),
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=PARTS, metavar="PART", help="measure only these parts")
    add("--rounds", type=_positive, default=_ROUNDS, help="rounds per measurement (%(default)s)")
    add("--seconds", type=_positive, default=2, help="seconds per load of requests (%(default)s)")
    add(
        "--load-seconds",
        type=_positive,
        default=60,
        help="seconds of load before memory is measured (%(default)s)",
    )
    add("--large-mib", type=_positive, default=2048, help="size of the large layer (%(default)s)")
    add("--image", help="measure another image of the registry")
    for option, purpose in (
        ("--key", "set a key of the bundle; the value is YAML"),
        ("--far-key", "set a key of the bundle for both sites of the part `far`"),
        ("--env", "set an environment variable of the registry's containers"),
    ):
        add(
            option,
            type=_assignment,
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help=purpose,
        )
    add("--json", type=Path, default=_RESULTS, help="file of the results (%(default)s)")
    add("--read", type=Path, metavar="FILE", help="show the results in a file; measure nothing")
    add("--page", action="store_true", help="write the page also for incomplete results")
    return parser


sys.exit(main())
