"""Every config.yaml in Quay's documentation is accepted unchanged.

`bundles/` contains them as published, in three editions. The pages number the lines that they
explain. A number on a line of its own is not YAML, so these lines, and only these, are omitted. In
the Chinese edition the numbers follow the values and are read as part of them. All three are
complete bundles; no page shows a fragment.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from atoll.cli.main import main
from atoll.config import check
from atoll.config.load import read

BUNDLES = sorted((Path(__file__).parent / "bundles").iterdir())
NUMBER_ON_A_LINE_OF_ITS_OWN = re.compile(r"^\d+\n", re.MULTILINE)


def content(path: Path) -> str:
    return NUMBER_ON_A_LINE_OF_ITS_OWN.sub("", path.read_text())


def test_every_edition_has_a_bundle() -> None:
    editions = [path.stem.rpartition("-")[2] for path in BUNDLES]
    assert editions == ["chinese", "english", "japanese"]


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("preference", [None, ["usstorage"], ["eustorage"]])
def test_a_documented_bundle_is_accepted(path: Path, preference: list[str] | None) -> None:
    result = check(read(content(path), path.name), preference)
    assert result.problems == []
    assert result.bundle is not None
    assert result.bundle.preference == (preference or ["usstorage", "eustorage"])
    assert result.bundle.required_locations == ["usstorage", "eustorage"]
    assert {settings.driver for settings in result.bundle.stores.values()} == {"GoogleCloudStorage"}


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_the_command_accepts_a_documented_bundle(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(content(path))
    assert main(["config", "check", "--json", str(file)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == []
    # Every page has a placeholder as host name, and none configures TLS between the services.
    assert {line.partition(":")[0] for line in report["warnings"]} == {
        "SERVER_HOSTNAME",
        "DB_URI",
        "BUILDLOGS_REDIS",
        "USER_EVENTS_REDIS",
        "TRUSTED_PROXIES",
    }
