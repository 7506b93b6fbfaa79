"""The root of the command line: every command, its module and its place in the help."""

from __future__ import annotations

import click

import atoll as package
from atoll.cli.commands import Command, Entry, Group

_LOCATIONS = "atoll.cli.locations"

SECTIONS = {
    "Status": {
        "status": Entry("atoll.cli.status:status", "Show instances, stores, lag and mirrors"),
        "wait": Entry("atoll.cli.wait:wait", "Wait until an image or all blobs are replicated"),
        "smoke-test": Entry(
            "atoll.cli.smoke_test:smoke_test", "Log in, push an image, and pull it at each site"
        ),
    },
    "Locations": {
        "locations": Entry(
            f"{_LOCATIONS}:locations",
            "List, drain, activate, remove and purge locations",
        ),
        "backfill": Entry("atoll.cli.backfill:backfill", "Queue missing copies"),
        "policy": Entry(
            "atoll.cli.policy:policy", "Manage placement policies of namespaces and repositories"
        ),
    },
    "Data integrity": {
        "verify": Entry("atoll.cli.verify:verify", "Verify that all copies exist and are intact"),
        "inventory": Entry("atoll.cli.inventory:inventory", "Find orphaned objects in a store"),
    },
    "Accounts and repositories": {
        "user": Entry("atoll.cli.users:user", "Manage user accounts"),
        "token": Entry("atoll.cli.tokens:token", "Manage API tokens"),
        "mirror": Entry("atoll.cli.mirror:mirror", "Manage mirrors of other registries"),
        "scan": Entry("atoll.cli.scan:scan", "Manage the security scans of images"),
        "repository": Entry("atoll.cli.repositories:repository", "Manage repositories"),
        "export": Entry("atoll.cli.media_export:export", "Write images to a medium for an air gap"),
        "import": Entry("atoll.cli.media_import:import_media", "Import images from media"),
    },
    "Configuration": {
        "config": Entry("atoll.cli.config:config", "Check a configuration bundle"),
        "kubernetes": Entry(
            "atoll.cli.kubernetes:kubernetes", "Convert registries of Quay's Operator"
        ),
        "reload": Entry("atoll.cli.processes:reload", "Reload the bundle in this container"),
        "migrate": Entry("atoll.cli.migrate:migrate", "Migrate the database to this version"),
    },
    "Container processes": {
        "registry": Entry(
            "atoll.cli.processes:registry", "Migrate the database, then serve the registry"
        ),
        "registry-nomigrate": Entry(
            "atoll.cli.processes:registry_nomigrate",
            "Serve the registry without migrating the database",
        ),
        "replication": Entry("atoll.cli.processes:replication", "Run the replication worker"),
        "housekeeping": Entry(
            "atoll.cli.processes:housekeeping", "Run maintenance for a site without replication"
        ),
        "repomirror": Entry(
            "atoll.cli.processes:repomirror", "Migrate the database, then run the mirror worker"
        ),
        "repomirror-nomigrate": Entry(
            "atoll.cli.processes:repomirror_nomigrate",
            "Run the mirror worker without migrating the database",
        ),
        "web": Entry("atoll.cli.processes:web", "Run one web process behind nginx", hidden=True),
        "healthcheck": Entry(
            "atoll.cli.processes:healthcheck", "Check the health of the process in this container"
        ),
        "shell": Entry("atoll.cli.processes:shell", "Run a shell in the container"),
    },
    "Shortcuts": {
        "drain": Entry(f"{_LOCATIONS}:drain", "Same as 'locations drain'"),
        "activate": Entry(f"{_LOCATIONS}:activate", "Same as 'locations activate'"),
        "remove-location": Entry("atoll.cli.removal:remove", "Same as 'locations remove'"),
        "purge-store": Entry("atoll.cli.purge:purge", "Same as 'locations purge'"),
        "lost": Entry("atoll.cli.loss:lost", "Same as 'locations lost'"),
    },
    "Other": {
        "completion": Entry("atoll.cli.completion:completion", "Print a shell completion script"),
        "help": Entry("atoll.cli.root:show_help", "Show the help of a command"),
    },
}


@click.group(cls=Group, sections=SECTIONS)
@click.version_option(package.__version__, message="%(prog)s %(version)s")
def atoll() -> None:
    """Operate a container registry that spans several regions.

    Run 'atoll COMMAND --help' for the options and exit codes of a command.
    """


@click.command(cls=Command)
@click.argument("words", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def show_help(context: click.Context, words: tuple[str, ...]) -> None:
    """Show the help of a command, or the list of commands."""
    found = context.find_root()
    for word in words:
        command = (
            found.command.get_command(found, word)
            if isinstance(found.command, click.Group)
            else None
        )
        if command is None:
            context.fail(f"No such command '{' '.join(words)}'.")
        found = click.Context(command, info_name=word, parent=found)
    click.echo(found.get_help())
