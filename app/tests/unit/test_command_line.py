"""The command line: its help, exit codes, completion and start time."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import click
import pytest
from atoll.cli.commands import HELP_WIDTH, Command, Group
from atoll.cli.container_processes import find_process
from atoll.cli.context import CommandContext
from atoll.cli.main import main
from atoll.cli.root import atoll
from atoll.errors import UserError
from atoll.services import Services

APP = Path(__file__).parents[2]
# Commands and options as playbooks, runbooks and units spell them.
SPELLINGS = [
    "registry",
    "registry-nomigrate",
    "web",
    "replication",
    "replication status --json --max-lag",
    "replication wait --timeout",
    "housekeeping",
    "reload",
    "migrate --dry-run --json",
    "repomirror",
    "repomirror-nomigrate",
    "shell",
    "healthcheck --alive",
    "config check --preference --probe --connect --json",
    "kubernetes convert --bundle --json",
    "status --json --max-lag",
    "wait --location --timeout --json",
    "locations --json",
    "backfill --location --namespace --dry-run --until --wait --json",
    "drain --wait --json",
    "activate --read-only",
    "remove-location --dry-run --yes --undo --verified-since --check-objects --yes-unverified"
    " --lost --accept-loss --json",
    "purge-store --config --dry-run --yes --limit --json",
    "lost --json",
    "verify --location --namespace --sample --full --rate --resume --report-only --heal --json",
    "inventory --older-than --delete-orphans --heal --json",
    "policy list --json",
    "policy show --json",
    "policy set --extra --exclude --urgent --sync --sync-timeout",
    "policy clear",
    "policy enforce --dry-run --json",
    "user create --email --password-stdin",
    "token create --scope --days",
    "repository create --visibility",
    "help",
    "locations list --json",
    "locations drain --wait --json",
    "locations activate --read-only",
    "locations remove --yes",
    "locations lost --json",
    "locations purge --config",
]
# Phrases that the language rules exclude from help texts.
FORBIDDEN = re.compile(
    r"\b(whoever|somebody|nobody|anybody|for ever|anew|goes? on|tells?|takes? away|taken away"
    r"|looks? (at|whether)|as it (is|was)|said so|well|whole|in excess|only there)\b",
    re.IGNORECASE,
)
# Commands without a result: those that run a process, or replace themselves by another program.
WITHOUT_JSON = {
    "registry",
    "registry-nomigrate",
    "web",
    "replication",
    "housekeeping",
    "reload",
    "repomirror",
    "repomirror-nomigrate",
    "shell",
    "healthcheck",
    "completion",
    "help",
}


def every_command(
    group: Group = atoll, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, Group):
            yield from every_command(command, (*path, name))


COMMANDS = dict(every_command())


def help_of(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*words, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("path", [(), *COMMANDS], ids=" ".join)
def test_help_fits_80_columns_and_keeps_the_language_rules(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(*path, capsys=capsys)
    assert [line for line in text.splitlines() if len(line) > HELP_WIDTH] == []
    assert FORBIDDEN.findall(text) == []
    assert "\b" not in text


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_command_is_listed_with_a_verb_phrase_of_at_most_60_characters(
    path: tuple[str, ...],
) -> None:
    group = atoll if len(path) == 1 else COMMANDS[path[:-1]]
    assert isinstance(group, Group)
    entry = group.entries.get(path[-1])
    text = entry.help if entry else COMMANDS[path].get_short_help_str(1000)
    assert len(text) <= 60
    assert text[0].isupper()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_and_command_has_a_help_text(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_command_with_a_result_prints_it_as_json(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    if path[0] in WITHOUT_JSON and len(path) == 1:
        return
    if isinstance(command, Command):
        assert "as_json" in {parameter.name for parameter in command.params}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_commands_of_runbooks_are_accepted(spelling: str) -> None:
    words = spelling.split()
    options = [word for word in words if word.startswith("-")]
    path = tuple(word for word in words if not word.startswith("-"))
    known = {option for parameter in COMMANDS[path].params for option in parameter.opts}
    assert set(options) <= known


@pytest.mark.parametrize(
    "words",
    [
        ["regsitry"],
        ["status", "--no-such-option"],
        ["policy", "st"],
        ["drain"],
        ["status", "too", "many"],
        ["verify", "--heal", "--report-only"],
        ["locations", "--json", "list"],
        ["migrate", "tail"],
        ["kubernetes", "convert", "us.yaml"],
        [],
    ],
    ids=" ".join,
)
def test_a_usage_error_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().out == ""


def test_an_unknown_command_is_refused_with_the_closest_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["regsitry"]) == 2
    error = capsys.readouterr().err
    assert "Did you mean 'registry'?" in error
    assert "repomirror" in error


class RefusingContext(CommandContext):
    """Raises an error instead of loading a bundle."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def services(self) -> Services:
        raise self._error

    def services_for_server(self) -> Services:
        raise self._error


def test_a_user_error_is_printed_without_a_traceback_and_exits_with_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["status"], RefusingContext(UserError("there is no such thing"))) == 1
    assert capsys.readouterr().err == "there is no such thing\n"


def test_an_unexpected_exception_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        main(["status"], RefusingContext(ZeroDivisionError()))


@pytest.mark.parametrize("words", [["migrate"], ["migrate", "head"], ["migrate", "head", "--json"]])
def test_migrate_accepts_the_version_of_quays_command(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words, RefusingContext(UserError("the bundle was requested"))) == 1
    assert capsys.readouterr().err == "the bundle was requested\n"


class ClosedTerminal(io.StringIO):
    """A terminal at the end of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def isatty(self) -> bool:
        return True

    def readline(self, size: int | None = -1, /) -> str:
        del size
        self.reads += 1
        assert self.reads == 1, "asked again after the end of the input"
        return ""


class RemovableLocation(CommandContext):
    """Services whose location can be removed but must not be."""

    def services(self) -> Services:
        life_cycle = SimpleNamespace(check_removal=lambda _location, _requirements: 3)
        return cast("Services", SimpleNamespace(location_life_cycle=life_cycle))


def test_the_end_of_the_input_declines_a_removal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", ClosedTerminal())
    assert main(["remove-location", "eu"], RemovableLocation()) == 0
    assert capsys.readouterr().out == "nothing was changed\n"


def test_the_word_atoll_may_be_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["atoll", "--version"]) == 0
    assert capsys.readouterr().out.startswith("atoll ")


@pytest.mark.parametrize("words", [["help"], ["help", "policy", "set"]], ids=" ".join)
def test_the_help_command_prints_the_same_as_the_option(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out == help_of(*words[1:], capsys=capsys)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert f"_ATOLL_COMPLETE={shell}_complete" in capsys.readouterr().out


def completed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> str:
    monkeypatch.setenv("_ATOLL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    with pytest.raises(SystemExit):
        main([])
    return capsys.readouterr().out


def test_completion_offers_commands_and_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completed(monkeypatch, capsys, "atoll loc").split() == ["plain,locations"]
    assert "plain,drain" in completed(monkeypatch, capsys, "atoll locations d").split()
    assert "plain,--max-lag" in completed(monkeypatch, capsys, "atoll status --m").split()


def modules_after(code: str) -> set[str]:
    """Return the modules that a new Python process has imported after `code`."""
    code = f"import sys\n{code}\nprint(' '.join(sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(APP)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(ended.stdout.split("\n")[-2].split())


def test_a_health_check_imports_little() -> None:
    code = "from atoll.cli.main import main; assert main(['healthcheck', '--alive']) == 1"
    heavy = {"click", "rich", "psycopg2", "boto3", "pydantic", "falcon", "jinja2", "yaml"}
    assert modules_after(code) & heavy == set()


def test_processes_report_an_invalid_bundle_and_import_no_command_line(tmp_path: Path) -> None:
    code = (
        f"import os; os.environ['ATOLL_BUNDLE_DIRECTORY'] = {str(tmp_path)!r}\n"
        "from atoll.cli.main import main; from atoll.exit_codes import CONFIG\n"
        "assert main(['migrate']) == CONFIG and main(['web', 'a.sock']) == CONFIG"
    )
    assert modules_after(code) & {"click", "rich"} == set()


@pytest.mark.parametrize(
    "words",
    [
        ["registry"],
        ["registry-nomigrate"],
        ["migrate"],
        ["replication"],
        ["housekeeping"],
        ["repomirror"],
        ["repomirror-nomigrate"],
        ["web", "a.sock"],
    ],
)
def test_a_process_that_starts_without_the_command_line_is_also_a_command_with_help(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_process(words) is not None
    assert find_process([words[0], "--help"]) is None
    assert help_of(words[0], capsys=capsys)


@pytest.mark.parametrize("words", [[], ["status"], ["web"], ["migrate", "head"]])
def test_other_commands_need_the_command_line(words: list[str]) -> None:
    assert find_process(words) is None


@pytest.mark.parametrize("words", [["--help"], ["completion", "bash"], ["reload", "--help"]])
def test_help_and_completion_import_no_services(words: list[str]) -> None:
    code = f"from atoll.cli.main import main; assert main({words!r}) == 0"
    assert modules_after(code) & {"psycopg2", "boto3", "pydantic", "falcon"} == set()
