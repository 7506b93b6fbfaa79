"""`atoll completion`: shell completion scripts."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from atoll.cli.commands import Command
from atoll.cli.output import print_result


@click.command(
    cls=Command,
    examples=[
        "source <(atoll completion bash)",
        "source <(atoll completion zsh)",
        "atoll completion fish | source",
    ],
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a shell completion script."""
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"there is no completion for {shell}")
    script = found(context.find_root().command, {}, "atoll", "_ATOLL_COMPLETE")
    print_result(script.source_template % script.source_vars())
