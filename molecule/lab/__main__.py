"""The lab: two sites of the registry on one machine.

usage: python molecule/lab up | info | down
       python molecule/lab images [NAME...]
       python molecule/lab machines create | destroy --inventory PATH
"""

import argparse
import sys
from pathlib import Path

import definition
import images
import machines
from errors import LabError
from progress import Steps


def main() -> int:
    """Do what the command line asks for."""
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except LabError as error:
        print(f"\n{error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _machines(arguments: argparse.Namespace) -> None:
    if arguments.verb == "create":
        machines.create(definition.read(arguments.inventory))
    else:
        machines.destroy(definition.identify(arguments.inventory))


def _images(arguments: argparse.Namespace) -> None:
    with Steps() as steps:
        images.build(steps, arguments.names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python molecule/lab")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("machines")
    command.add_argument("verb", choices=("create", "destroy"))
    command.add_argument("--inventory", type=Path, required=True)
    command.set_defaults(run=_machines)
    command = commands.add_parser("images")
    command.add_argument("names", nargs="*", metavar="NAME")
    command.set_defaults(run=_images)
    return parser


sys.exit(main())
