"""`python -m reference`: write the generated pages; with --check, fail if one is out of date."""

from __future__ import annotations

import argparse
import sys

from reference.pages import stale, write


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail on differences")
    if not parser.parse_args().check:
        for path in write():
            sys.stdout.write(f"{path}: written\n")
        return 0
    outdated = stale()
    for path in outdated:
        sys.stderr.write(f"{path}: out of date; run `make docs` and commit it\n")
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
