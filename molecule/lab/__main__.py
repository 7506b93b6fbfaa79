"""The lab: two sites of the registry on one machine.

usage: python molecule/lab up | info | down
       python molecule/lab images [NAME...]
       python molecule/lab machines create | destroy --inventory PATH
"""

import argparse
import sys
from pathlib import Path

import definition
import machines
from failure import Failure


def main() -> int:
    """Do what the command line asks for."""
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except Failure as failure:
        print(f"\n{failure}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _machines(arguments: argparse.Namespace) -> None:
    if arguments.verb == "create":
        machines.create(definition.read(arguments.inventory))
    else:
        machines.destroy(definition.identify(arguments.inventory))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python molecule/lab")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("machines")
    command.add_argument("verb", choices=("create", "destroy"))
    command.add_argument("--inventory", type=Path, required=True)
    command.set_defaults(run=_machines)
    return parser


sys.exit(main())
