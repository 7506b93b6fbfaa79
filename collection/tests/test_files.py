"""Files are replaced atomically and only if they differ, and secrets are never exposed."""

import grp
import os
import pwd
import stat

import pytest
from ansible_collections.atoll.registry.plugins.modules.files import Writer, obsolete

SECRET = "correct horse battery staple"


def wanted(path, **other):
    return {
        "path": str(path),
        "owner": pwd.getpwuid(os.getuid()).pw_name,
        "group": grp.getgrgid(os.getgid()).gr_name,
        "mode": "0600",
        "content": None,
        "secret": None,
        "validate": None,
    } | other


def write(module, **other):
    writer = Writer(module)
    writer.file(wanted(**other))
    return writer.diff


def test_a_second_run_changes_nothing(tmp_path, fake_module):
    path = tmp_path / "file"

    assert write(fake_module(), path=path, content="text")
    assert not write(fake_module(), path=path, content="text")


def test_check_mode_reports_a_change_and_writes_nothing(tmp_path, fake_module):
    path = tmp_path / "file"

    assert write(fake_module(check_mode=True), path=path, content="text")
    assert not path.exists()


def test_a_secret_never_appears_in_the_diff(tmp_path, fake_module):
    path = tmp_path / "file"
    path.write_text(SECRET + " (previous)")

    assert SECRET not in str(write(fake_module(), path=path, secret=SECRET))
    assert path.read_text() == SECRET


def test_a_secret_is_never_readable_by_others(tmp_path, fake_module):
    path = tmp_path / "file"
    os.umask(0)
    try:
        write(fake_module(), path=path, secret=SECRET)
    finally:
        os.umask(0o022)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_correcting_permissions_keeps_the_modification_time(tmp_path, fake_module):
    path = tmp_path / "file"
    write(fake_module(), path=path, content="text")
    os.utime(path, (1, 1))
    path.chmod(0o644)

    assert write(fake_module(), path=path, content="text")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_mtime == 1


def test_invalid_content_keeps_the_old_file_and_leaves_no_temporary_file(tmp_path, fake_module):
    path = tmp_path / "file"
    path.write_text("good")
    module = fake_module(answers={"check it": (1, "", "line 1 is wrong")})

    with pytest.raises(ValueError, match="line 1 is wrong"):
        write(module, path=path, content="bad", validate="check it %s")
    assert path.read_text() == "good"
    assert os.listdir(tmp_path) == ["file"]


def test_unwanted_files_in_exclusive_directories_are_obsolete(tmp_path):
    (tmp_path / "extra").mkdir()
    for name in ("kept", "old", "extra/old"):
        (tmp_path / name).write_text("")

    found = obsolete({"files": [{"path": f"{tmp_path}/kept"}], "exclusive": [str(tmp_path)]})

    assert sorted(found) == [f"{tmp_path}/extra/old", f"{tmp_path}/old"]


def test_an_owner_may_be_a_number_without_a_name(tmp_path, fake_module):
    path = tmp_path / "file"
    owner = {"owner": str(os.getuid()), "group": str(os.getgid())}

    assert write(fake_module(), path=path, content="text", **owner)
    assert not write(fake_module(), path=path, content="text", **owner)
