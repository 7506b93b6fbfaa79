"""The directory of Ansible's commands, which `make ansible-versions` sets to each version's."""

import os
import sys
from pathlib import Path

TOOLS = Path(os.environ.get("ATOLL_ANSIBLE", Path(sys.executable).parent))
