"""The command line of the lab; see `python molecule/lab --help`."""

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
    """Run the command line, and return the exit status."""
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except LabError as error:
        _print_error(str(error))
        if error.log:
            _print_error(f"Complete log: {error.log}")
        return 1
    except KeyboardInterrupt:
        _print_error(
            "Interrupted. Run the command again to resume, or `make lab-down` to remove the lab."
        )
        return 130
    return 0


def _print_error(text: str) -> None:
    sys.stderr.write(f"\n{text}\n")


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
        prog="python molecule/lab", description="Run two sites of the registry on one machine."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for verb, run, purpose in (
        ("up", lab.up, "start the lab and run the demonstration"),
        ("info", lab.info, "print all addresses and credentials as JSON"),
        ("down", lab.down, "remove the lab"),
    ):
        command = commands.add_parser(verb, help=purpose)
        command.set_defaults(run=lambda _, run=run: run())
    command = commands.add_parser("images", help="build changed images")
    command.add_argument("names", nargs="*", metavar="NAME", help="build only these images")
    command.set_defaults(run=_images)
    command = commands.add_parser("machines", help="manage the machines of an inventory")
    command.add_argument("verb", choices=("create", "destroy"))
    command.add_argument("--inventory", type=Path, required=True, action="append")
    command.set_defaults(run=_machines)
    return parser


sys.exit(main())
