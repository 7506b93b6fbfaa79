"""The command line of the lab, see `python molecule/lab --help`."""

import argparse
import sys
from pathlib import Path

import definition
import images
import lab
import machines
from errors import LabError
from progress import Steps


def main() -> int:
    """Do what the command line asks for; 0 when all went well."""
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except LabError as error:
        _complain(str(error))
        if error.log:
            _complain(f"The whole log: {error.log}")
        return 1
    except KeyboardInterrupt:
        _complain("interrupted; the same command goes on from here, `make lab-down` removes all")
        return 130
    return 0


def _complain(sentence: str) -> None:
    sys.stderr.write(f"\n{sentence}\n")


def _machines(arguments: argparse.Namespace) -> None:
    if arguments.verb == "create":
        machines.create(definition.read(arguments.inventory))
    else:
        machines.destroy(definition.identify(arguments.inventory))


def _images(arguments: argparse.Namespace) -> None:
    with Steps() as steps:
        images.build(steps, arguments.names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python molecule/lab", description="Two sites of the registry on one machine."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for verb, run, purpose in (
        ("up", lab.up, "make the lab, or what is missing of it, and show that it works"),
        ("info", lab.info, "print every address and credential as JSON"),
        ("down", lab.down, "remove everything that the lab made"),
    ):
        command = commands.add_parser(verb, help=purpose)
        command.set_defaults(run=lambda _, run=run: run())
    command = commands.add_parser("images", help="build the images that changed")
    command.add_argument("names", nargs="*", metavar="NAME", help="only these")
    command.set_defaults(run=_images)
    command = commands.add_parser("machines", help="the machines of an inventory")
    command.add_argument("verb", choices=("create", "destroy"))
    command.add_argument("--inventory", type=Path, required=True, action="append")
    command.set_defaults(run=_machines)
    return parser


sys.exit(main())
