"""`python -m util.verifyplacements`: a HEAD of every object that is placed, as in Quay.

Unlike Quay's it deletes no row: it tells what is wrong where, and leaves acting on it to
`atoll verify --heal`. Its options and exit statuses are those of `atoll verify`.
"""

from __future__ import annotations

import sys
from argparse import Namespace

from atoll.cli.main import parser
from atoll.cli.run import run

if __name__ == "__main__":
    options: Namespace = parser().parse_args(["verify", *sys.argv[1:]])
    sys.exit(run(options))
