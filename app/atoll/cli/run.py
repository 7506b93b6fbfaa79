"""Names that the commands of locations still use."""

from __future__ import annotations

from atoll.cli.output import note
from atoll.errors import UserError

CommandFailed = UserError
say = note
