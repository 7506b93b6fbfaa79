"""Reference pages are generated from the code and complete."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Literal

import pytest
from atoll.config.model import Bundle, Duration
from atoll.config.stores import DRIVERS
from atoll.config.units import Size
from pydantic import BaseModel, Field
from reference.ansible_markup import plain
from reference.api import api_page
from reference.command_line import command_line_page, command_problem
from reference.configuration import configuration_page, default, kind
from reference.markdown import code, item, paragraph, table
from reference.metrics import metrics_page
from reference.modules import modules_page
from reference.pages import REPOSITORY, pages, stale, write
from reference.roles import readme
from reference.terminal import terminal_picture


class Example(BaseModel):
    name: str
    lifetime: Duration = 14 * 86400
    limit: Size = 20 * 2**30
    odd: Duration = 90
    mode: Literal["normal", "readonly"] = "normal"
    enabled: bool = False
    choices: list[Duration] = Field(default_factory=lambda: [0, 3600])
    optional: Annotated[Size, Field(ge=1)] | None = None


@pytest.mark.parametrize(
    ("field", "type_", "value"),
    [
        ("name", "text", "required"),
        ("lifetime", "duration", "`2w`"),
        ("limit", "size", "`20G`"),
        ("odd", "duration", "`90s`"),
        ("mode", "`normal` or `readonly`", "`normal`"),
        ("enabled", "true or false", "`false`"),
        ("choices", "list of duration", "`0s`, `1h`"),
        ("optional", "size", "not set"),
    ],
)
def test_type_and_default_of_a_key_are_spelled_as_in_a_bundle(
    field: str, type_: str, value: str
) -> None:
    info = Example.model_fields[field]
    assert (kind(info), default(info)) == (type_, value)


def test_every_key_of_the_bundle_has_a_description() -> None:
    models = [Bundle, *DRIVERS.values()]
    missing = [
        f"{model.__name__}.{name}"
        for model in models
        for name, info in model.model_fields.items()
        if not info.description and name != "fingerprint"
    ]
    assert missing == []


def test_configuration_page_lists_every_key_and_driver() -> None:
    page = configuration_page()
    for info in Bundle.model_fields.values():
        assert f"### {info.alias}\n" in page or info.alias == "fingerprint"
    for driver in DRIVERS:
        assert f"### {driver}\n" in page


def test_configuration_page_marks_the_keys_that_quay_does_not_have() -> None:
    page = configuration_page()
    assert "*Origin:* Atoll" in page.split("### TRUSTED_PROXIES\n")[1].split("###")[0]
    assert "*Origin:* Quay" in page.split("### SERVER_HOSTNAME\n")[1].split("###")[0]


def test_metrics_page_names_labels_and_the_suffix_of_counters() -> None:
    page = metrics_page()
    assert "`atoll_store_up{location}` | gauge" in page
    assert "`atoll_store_requests_total{location,outcome}` | counter" in page


def test_api_page_lists_operations_with_their_scope() -> None:
    page = api_page()
    assert "| `GET /repository/{repository}` | `repo:read` · public |" in page
    assert "| `GET /superuser/config` | `super:user` |" in page


def test_modules_page_includes_the_options_of_documentation_fragments() -> None:
    robot = modules_page(REPOSITORY / "plugins").split("\n### robot\n")[1]
    assert "`registry_url` | str | **required**" in robot.split("\n### ")[0]


def test_command_line_page_lists_options_exit_codes_and_examples() -> None:
    verify = command_line_page().split("\n### atoll verify\n")[1].split("\n### ")[0]
    assert "| `--heal` |" in verify
    assert "- Exit code 65: " in verify
    assert "atoll verify --full --rate 50M" in verify


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("atoll verify --full --rate 50M", None),
        ("atoll locations drain eustorage --wait", None),
        ("atoll policy set NAMESPACE --extra=asia", None),
        ("atoll COMMAND", None),
        ("atoll config check -", None),
        ("atoll repair", "atoll has no command repair"),
        ("atoll policy forget acme", "atoll policy has no command forget"),
        ("atoll verify --repair", "atoll verify has no option --repair"),
    ],
)
def test_command_line_page_is_checked_against_the_tree_of_commands(
    line: str, problem: str | None
) -> None:
    assert command_problem(line) == problem


def test_role_readme_shows_required_variables_in_an_example() -> None:
    text = readme(REPOSITORY / "roles", "redis")
    assert "| `redis_port` | int | `6379` |" in text
    assert 'redis_password: "{{ vault_redis_password }}"' in text


def test_committed_page_that_differs_is_out_of_date_until_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "collection").symlink_to(REPOSITORY / "collection")
    shutil.copytree(REPOSITORY / "roles", tmp_path / "roles")
    (tmp_path / "docs/reference").mkdir(parents=True)
    shutil.copytree(REPOSITORY / "docs/assets", tmp_path / "docs/assets")
    for path in pages(tmp_path):
        (tmp_path / path).write_text("outdated\n")
    assert set(stale(tmp_path)) == set(pages(tmp_path))
    assert set(write(tmp_path)) == set(pages(tmp_path))
    assert stale(tmp_path) == []


def test_terminal_recording_shows_the_session_and_loads_no_resources(tmp_path: Path) -> None:
    (tmp_path / "session.txt").write_text("# remark\n$ atoll status\nLOCATION\n")
    picture = terminal_picture(tmp_path / "session.txt")
    assert "LOCATION" in picture
    assert "url(&" not in picture
    assert "https://cdn" not in picture


def test_ansible_markup_is_converted_to_markdown() -> None:
    text = "Needs O(token) or V(true); see M(atoll.registry.user), I(now) and L(docs,https://a.example)."
    expected = (
        "Needs `token` or `true`; see `atoll.registry.user`, *now* and [docs](https://a.example)."
    )
    assert plain(text) == expected


def test_cells_of_a_table_stay_on_one_line_and_escape_bars() -> None:
    assert table(["a"], [["x |\n y"]]).splitlines()[-1] == "| x \\| y |"
    assert code("a | b") == "<code>a &#124; b</code>"


def test_paragraphs_and_items_wrap_at_100_columns() -> None:
    words = "word " * 60
    assert max(map(len, paragraph(words).splitlines())) <= 100
    lines = item(words).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0].startswith("- word")
    assert lines[1].startswith("  word")


def test_paragraph_keeps_code_and_links_on_one_line() -> None:
    for unbroken in ("`atoll verify --location NAME`", "[some words of a link](page.md)"):
        for length in range(60, 100):
            assert unbroken in paragraph("x" * length + " " + unbroken)
