"""Static files of the panel never change under their name."""

from __future__ import annotations

import re
from pathlib import Path

import falcon
import falcon.testing
from atoll.config.model import Bundle
from atoll.server.nginx import write_nginx_configuration
from atoll.web.panel.static_files import PREFIX, StaticFileResource, StaticFiles

from .valid_bundle import valid_bundle


def client(files: StaticFiles) -> falcon.testing.TestClient:
    app: falcon.App[falcon.Request, falcon.Response] = falcon.App()
    app.add_route(PREFIX + "{file}", StaticFileResource(files))
    return falcon.testing.TestClient(app)


def test_a_name_changes_with_the_content(tmp_path: Path) -> None:
    file = tmp_path / "a.css"
    file.write_text("one")
    first = StaticFiles([file]).path("a.css")
    assert re.fullmatch(r"/panel/static/a\.[0-9a-f]{16}\.css", first)
    file.write_text("two")
    assert StaticFiles([file]).path("a.css") != first
    assert client(StaticFiles([file])).simulate_get(first).status_code == 404


def test_a_file_is_cached_for_good_and_has_its_type() -> None:
    files = StaticFiles.installed()
    for one in files:
        answer = client(files).simulate_get(one.path)
        assert answer.content == one.file.read_bytes()
        assert answer.headers["content-type"] == one.content_type
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_style_sheets_and_scripts_name_no_other_host() -> None:
    for name in ("panel.css", "panel.js"):
        text = next(one for one in StaticFiles.installed() if one.file.name == name)
        assert "//" not in re.sub(r"^\s*//.*$", "", text.file.read_text(), flags=re.MULTILINE)


def nginx_configuration(tmp_path: Path, **changes: object) -> str:
    file = tmp_path / "nginx.conf"
    bundle = Bundle.model_validate(valid_bundle(**changes))
    write_nginx_configuration(
        file, bundle, None, [tmp_path / "1.sock"], drain=1, client_connections=0
    )
    return file.read_text()


def test_nginx_serves_each_file_under_its_name_only(tmp_path: Path) -> None:
    text = nginx_configuration(tmp_path)
    for one in StaticFiles.installed():
        assert f"location = {one.path} {{" in text
        assert f"alias {one.file};" in text
    assert "immutable" in text


def test_nginx_serves_no_files_of_a_disabled_panel(tmp_path: Path) -> None:
    assert "/panel/" not in nginx_configuration(tmp_path, FEATURE_UI_PANEL=False)
