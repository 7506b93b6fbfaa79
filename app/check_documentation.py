#!/usr/bin/env python3
"""Check the links, blocks of code, paths, commands and names in the project's Markdown.

usage: app/check_documentation.py [FILE]...

Without files it checks all of them. Nothing is requested from the network. Exit status: 0 if there
is no problem, 1 if there are some.
"""

from __future__ import annotations

import sys
from pathlib import Path

from reference.command_line import command_problem
from reference.documents import Checker

REPOSITORY = Path(__file__).resolve().parent.parent
# The changelog is left out: it refers to files and commands of earlier versions.
_PATTERNS = ("[!C]*.md", "CONTRIBUTING.md", "docs/**/*.md", "roles/*/README.md")


def main(names: list[str]) -> int:
    """Print the problems of the named files, or of all, and return the exit status."""
    files = [Path(name).resolve() for name in names]
    if not files:
        files = sorted(file for pattern in _PATTERNS for file in REPOSITORY.glob(pattern))
    checker = Checker(REPOSITORY, command_problem)
    problems = [problem for file in files for problem in checker.problems(file)]
    sys.stdout.write("".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
