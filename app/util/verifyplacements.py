"""`python -m util.verifyplacements`: a HEAD of every object that is placed, as in Quay.

Unlike Quay's, it deletes no row: it reports bad copies, and `atoll verify --heal` repairs them. Its
options and exit codes are those of `atoll verify`.
"""

from __future__ import annotations

import sys

from atoll.cli.runner import run
from atoll.cli.verify import verify

if __name__ == "__main__":
    sys.exit(run(verify, sys.argv[1:], name="python -m util.verifyplacements"))
