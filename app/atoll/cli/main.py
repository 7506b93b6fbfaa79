"""`atoll COMMAND`: what the container runs, and what operators type.

Exit statuses: `atoll.exit_codes`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import atoll


def parser() -> argparse.ArgumentParser:
    """Return the parser. Each command's `run` is "module:function", imported when it is used."""
    root = argparse.ArgumentParser(prog="atoll", description=atoll.__doc__)
    root.add_argument("--version", action="version", version=f"atoll {atoll.__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_processes(commands)
    _add_operations(commands)
    commands.add_parser("help", help="show this text").set_defaults(run=None)
    return root


def _add_processes(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    registry = commands.add_parser("registry", help="migrate, then serve the registry (default)")
    registry.set_defaults(run="atoll.server.registry_process:registry", migrate=True)
    without = commands.add_parser("registry-nomigrate", help="serve the registry")
    without.set_defaults(run="atoll.server.registry_process:registry", migrate=False)
    web = commands.add_parser("web", help="one process of the registry, behind its nginx")
    web.add_argument("socket", help="the unix socket to listen on")
    web.set_defaults(run="atoll.server.web_process:web")

    replication = commands.add_parser(
        "replication", help="copy what this site lacks; with a word more: look at it"
    )
    replication.set_defaults(run="atoll.server.replication_process:replication")
    looks = replication.add_subparsers(metavar="LOOK")
    _add_status(looks.add_parser("status", help="the same as `atoll status`"))
    _add_wait(looks.add_parser("wait", help="the same as `atoll wait`"))

    house = commands.add_parser(
        "housekeeping", help="what a site without replication needs done in the background"
    )
    house.set_defaults(run="atoll.server.housekeeping:housekeeping")
    again = commands.add_parser(
        "reload", help="let this container's process read its bundle again, and wait for that"
    )
    again.set_defaults(run="atoll.server.reload:reload")
    migrate = commands.add_parser("migrate", help="bring the database up to this version")
    migrate.add_argument("--dry-run", action="store_true", help="only say what would be applied")
    migrate.add_argument("--json", action="store_true", help="print JSON")
    migrate.set_defaults(run="atoll.cli.migrate:migrate")
    mirror = commands.add_parser("repomirror", help="mirror repositories (comes later)")
    mirror.set_defaults(run="atoll.server.registry_process:repomirror")
    commands.add_parser("shell", help="a shell in the container").set_defaults(
        run="atoll.server.registry_process:shell"
    )
    check = commands.add_parser("healthcheck", help="exit with 0 if this container is well")
    check.add_argument(
        "--alive",
        action="store_true",
        help="it is enough that the process answers, even that PostgreSQL is down, say",
    )
    check.set_defaults(run="atoll.server.healthcheck:healthcheck")


def _add_operations(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    config = commands.add_parser("config", help="the bundle").add_subparsers(
        metavar="ACTION", required=True
    )
    check = config.add_parser("check", help="say what is wrong with a config.yaml")
    check.add_argument("file", help="the file, or - for standard input")
    check.add_argument("--preference", help="stands for QUAY_DISTRIBUTED_STORAGE_PREFERENCE")
    check.add_argument(
        "--probe",
        action="append",
        default=[],
        metavar="LOCATION",
        help="also look whether its store takes an object from here",
    )
    check.add_argument(
        "--connect",
        action="store_true",
        help="also check the connection to the database from here",
    )
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run="atoll.cli.config:check")

    _add_status(
        commands.add_parser("status", help="instances, stores and lag; 1 if somebody should look")
    )
    _add_wait(
        commands.add_parser("wait", help="wait until an image, or everything, is where it must be")
    )
    _add_locations(commands)
    _add_checks_of_stores(commands)
    _add_policies(commands)

    user = commands.add_parser("user", help="accounts").add_subparsers(
        metavar="ACTION", required=True
    )
    create = user.add_parser("create", help="make a user")
    create.add_argument("name")
    create.add_argument("--email")
    create.add_argument(
        "--password-stdin",
        action="store_true",
        required=True,
        help="read the password from standard input; an argument would show in process lists",
    )
    create.set_defaults(run="atoll.cli.accounts:create_user")

    token = commands.add_parser("token", help="tokens of the API").add_subparsers(
        metavar="ACTION", required=True
    )
    create = token.add_parser("create", help="make a token for a user and print it, once")
    create.add_argument("name", metavar="USER")
    create.add_argument(
        "--scope", action="append", help="what it is good for, such as repo:read; all by default"
    )
    create.add_argument("--days", type=int, default=365, help="how long it is good (365)")
    create.set_defaults(run="atoll.cli.accounts:create_token")

    repository = commands.add_parser("repository", help="repositories").add_subparsers(
        metavar="ACTION", required=True
    )
    create = repository.add_parser("create", help="make a repository in a namespace that exists")
    create.add_argument("name", metavar="NAMESPACE/NAME")
    create.add_argument("--visibility", choices=["public", "private"], default="private")
    create.set_defaults(run="atoll.cli.accounts:create_repository")


def _add_locations(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    locations = commands.add_parser("locations", help="show the locations and what they hold")
    locations.add_argument("--json", action="store_true", help="print JSON")
    locations.set_defaults(run="atoll.cli.locations:locations")

    backfill = commands.add_parser(
        "backfill", help="queue every copy that is missing; 0 only if there is none (any more)"
    )
    backfill.add_argument(
        "--location", action="append", metavar="NAME", help="only what this one lacks"
    )
    backfill.add_argument("--namespace", metavar="NAME", help="only what its images need")
    backfill.add_argument("--dry-run", action="store_true", help="only look")
    backfill.add_argument(
        "--until",
        type=int,
        metavar="NUMBER",
        help="only blobs up to that one, as `last` of an earlier --json: newer ones do not count",
    )
    backfill.add_argument("--wait", action="store_true", help="wait until nothing is missing")
    backfill.add_argument("--json", action="store_true", help="print JSON")
    backfill.set_defaults(run="atoll.cli.backfill:backfill")

    drain = commands.add_parser(
        "drain", help="write nothing new to a location, and copy what is only there"
    )
    drain.add_argument("location", metavar="LOCATION")
    drain.add_argument("--wait", action="store_true", help="wait until it is not needed any more")
    drain.add_argument("--json", action="store_true", help="print JSON")
    drain.set_defaults(run="atoll.cli.locations:drain")

    activate = commands.add_parser("activate", help="use a location again that is drained")
    activate.add_argument("location", metavar="LOCATION")
    activate.add_argument("--read-only", action="store_true", help="but write nothing to it")
    activate.set_defaults(run="atoll.cli.locations:activate")

    _add_removal(commands)

    purge = commands.add_parser(
        "purge-store", help="delete all objects of a location that is gone from its store"
    )
    purge.add_argument("location", metavar="LOCATION")
    purge.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="a config.yaml that still knows the location, or - for standard input",
    )
    purge.add_argument("--dry-run", action="store_true", help="only count them")
    purge.add_argument("--yes", action="store_true", help="do not ask")
    purge.add_argument(
        "--limit", type=_positive, metavar="OBJECTS", help="stop after so many; run it again"
    )
    purge.add_argument("--json", action="store_true", help="print JSON")
    purge.set_defaults(run="atoll.cli.purge:purge_store")

    lost = commands.add_parser(
        "lost", help="show what was lost with locations, is needed, and was not pushed again"
    )
    lost.add_argument("--json", action="store_true", help="print JSON")
    lost.set_defaults(run="atoll.cli.loss:show_lost")


def _add_removal(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    remove = commands.add_parser(
        "remove-location", help="remove a drained location; its store is not touched"
    )
    remove.add_argument("location", metavar="LOCATION")
    remove.add_argument("--dry-run", action="store_true", help="only check whether it can go")
    remove.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    remove.add_argument(
        "--undo", action="store_true", help="restore what an unfinished removal took away"
    )
    remove.add_argument(
        "--verified-since",
        metavar="DURATION",
        help="count only copies elsewhere that were hashed within it, such as 7d",
    )
    remove.add_argument(
        "--check-objects",
        action="store_true",
        help="ask the stores for each copy that would remain alone",
    )
    remove.add_argument(
        "--yes-unverified",
        action="store_true",
        help="also count copies at stores that no site can read from",
    )
    remove.add_argument(
        "--lost",
        action="store_true",
        help="its store will never come back: list the lost blobs, and remove it once accepted",
    )
    remove.add_argument(
        "--accept-loss", type=int, metavar="BLOBS", help="exactly so many blobs may be lost"
    )
    remove.add_argument("--json", action="store_true", help="print JSON, with --lost")
    remove.set_defaults(run="atoll.cli.removal:remove_location")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _add_checks_of_stores(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verify = commands.add_parser(
        "verify", help="look whether every blob is where it is said to be; 0 only if all is right"
    )
    verify.add_argument("--location", metavar="NAME", help="only what is placed there")
    verify.add_argument("--namespace", metavar="NAME", help="only what its images need")
    verify.add_argument(
        "--sample", type=float, default=100, metavar="PERCENT", help="look at a part of it only"
    )
    verify.add_argument(
        "--full", action="store_true", help="read and hash every byte, not only ask for the size"
    )
    verify.add_argument(
        "--rate", metavar="BYTES_PER_SECOND", help="read no faster, with --full; such as 20M"
    )
    verify.add_argument(
        "--resume", action="store_true", help="go on with the last run that was asked for the same"
    )
    act = verify.add_mutually_exclusive_group()
    act.add_argument(
        "--report-only", action="store_true", help="change nothing, which is the default"
    )
    act.add_argument(
        "--heal",
        action="store_true",
        help="after the report serve nothing wrong any more, and have it written anew",
    )
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.set_defaults(run="atoll.cli.verify:verify")

    inventory = commands.add_parser(
        "inventory", help="compare what a store holds with what the database says of it"
    )
    inventory.add_argument("location", metavar="LOCATION")
    inventory.add_argument(
        "--older-than",
        metavar="AGE",
        help="take an object without a row for an orphan from that age on, such as 2d; if not said,"
        " from the age at which an unfinished upload is given up",
    )
    inventory.add_argument("--delete-orphans", action="store_true", help="delete these objects")
    inventory.add_argument(
        "--heal",
        action="store_true",
        help="serve nothing from a placement without its object, and have it written anew",
    )
    inventory.add_argument("--json", action="store_true", help="print JSON")
    inventory.set_defaults(run="atoll.cli.inventory:inventory")


def _add_status(status: argparse.ArgumentParser) -> None:
    status.add_argument("--json", action="store_true", help="print JSON")
    status.add_argument(
        "--max-lag", type=float, metavar="SECONDS", help="a copy that is due for longer is too late"
    )
    status.set_defaults(run="atoll.cli.status:status")


def _add_wait(wait: argparse.ArgumentParser) -> None:
    wait.add_argument(
        "image",
        nargs="?",
        metavar="NAMESPACE/REPOSITORY:TAG",
        help="a tag, or @ and a digest, with all that it lists; else everything",
    )
    wait.add_argument("--location", action="append", metavar="NAME", help="only there")
    wait.add_argument("--timeout", type=float, metavar="SECONDS", help="give up after so long")
    wait.add_argument("--json", action="store_true", help="print JSON")
    wait.set_defaults(run="atoll.cli.wait:wait")


def _add_policies(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    actions = commands.add_parser(
        "policy", help="where blobs of a namespace or a repository must be, and where never"
    ).add_subparsers(metavar="ACTION", required=True)
    every = actions.add_parser("list", help="show every policy")
    every.set_defaults(run="atoll.cli.policy:list_policies")
    show = actions.add_parser("show", help="show one, what follows from it, what is in excess")
    show.set_defaults(run="atoll.cli.policy:show")
    change = actions.add_parser("set", help="say all of one; what is not said is as by default")
    change.set_defaults(run="atoll.cli.policy:set_policy")
    clear = actions.add_parser("clear", help="take one away")
    clear.set_defaults(run="atoll.cli.policy:clear")
    for one in (show, change, clear):
        one.add_argument("subject", metavar="NAMESPACE[/REPOSITORY]")
    enforce = actions.add_parser(
        "enforce", help="take copies away from where policies exclude them, now; 0 if none waits"
    )
    enforce.add_argument("--dry-run", action="store_true", help="only look")
    enforce.set_defaults(run="atoll.cli.enforcement:enforce")
    for one in (every, show, enforce):
        one.add_argument("--json", action="store_true", help="print JSON")
    change.add_argument(
        "--extra", action="append", default=[], metavar="LOCATION", help="must be there, too"
    )
    change.add_argument(
        "--exclude", action="append", default=[], metavar="LOCATION", help="may never be there"
    )
    change.add_argument("--urgent", action="store_true", help="its copies go first")
    change.add_argument(
        "--sync", type=int, metavar="COPIES", help="take a manifest when its blobs are at so many"
    )
    change.add_argument(
        "--sync-timeout", type=int, metavar="SECONDS", help="or refuse it after so long (30)"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # `podman run IMAGE atoll config check …` and `podman run IMAGE config check …` are the same.
    if words[:1] == ["atoll"]:
        words = words[1:]
    root = parser()
    options = root.parse_args(words)
    if options.run is None:
        root.print_help()
        return 0
    from atoll.cli.run import run  # noqa: PLC0415 - `help` and wrong use need nothing more

    return run(options)


if __name__ == "__main__":
    sys.exit(main())
