"""Every generated page, by its path in the repository."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from reference.api import api_page
from reference.command_line import command_line_page
from reference.configuration import configuration_page
from reference.metrics import metrics_page
from reference.modules import modules_page
from reference.roles import readme, role_names, role_variables_page
from reference.terminal import terminal_picture

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def pages(repository: Path = REPOSITORY) -> dict[Path, Callable[[], str]]:
    """Return a function for each generated page, by its path."""
    roles = repository / "roles"
    reference = Path("docs/reference")
    return {
        reference / "configuration.md": configuration_page,
        reference / "command-line.md": command_line_page,
        reference / "api.md": api_page,
        reference / "metrics.md": metrics_page,
        reference / "modules.md": partial(modules_page, repository / "plugins"),
        reference / "role-variables.md": partial(role_variables_page, roles),
        Path("docs/assets/terminal.svg"): partial(
            terminal_picture, repository / "docs/assets/terminal.txt"
        ),
        **{
            Path("roles") / role / "README.md": partial(readme, roles, role)
            for role in role_names(roles)
        },
    }


def stale(repository: Path = REPOSITORY) -> list[Path]:
    """Return the committed pages that differ from the generated ones."""
    return [path for path, text in pages(repository).items() if _read(repository / path) != text()]


def write(repository: Path = REPOSITORY) -> list[Path]:
    """Write the pages that differ, and return their paths."""
    written = []
    for path, generate in pages(repository).items():
        text = generate()
        if _read(repository / path) != text:
            (repository / path).write_text(text)
            written.append(path)
    return written


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None
