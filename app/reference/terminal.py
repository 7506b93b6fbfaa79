"""The picture of a terminal in the README, from a recorded session."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

_WIDTH = 98
# Rich's picture loads a font from another host; a local monospaced font will do.
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def terminal_picture(session: Path) -> str:
    """Return an SVG of a SESSION, in which `$ ` begins a command and `# ` a remark."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    for line in session.read_text().splitlines():
        console.print(_styled(line), soft_wrap=True)
    return console.export_svg(title="Atoll", code_format=_FORMAT, unique_id="terminal")


def _styled(line: str) -> Text:
    if line.startswith("$ "):
        return Text.assemble(("$ ", "bold green"), (line[2:], "bold"))
    if line.startswith("# "):
        return Text(line, style="cyan")
    return Text(line)
