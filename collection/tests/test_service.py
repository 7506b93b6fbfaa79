"""A service is restarted if and only if its inputs were written after its start."""

import os

import pytest
from ansible_collections.atoll.registry.plugins.modules.service import Unit, decide, start

STARTED = "Fri 2026-11-20 12:00:00.500000 UTC"
STARTED_SECONDS = 1795176000.5


def unit(fake_module, *, check_mode=False, parameters=None, **properties):
    properties = {
        "ActiveState": "active",
        "LoadState": "loaded",
        "InactiveExitTimestamp": STARTED,
        "StateChangeTimestamp": STARTED,
        "NeedDaemonReload": "no",
        "UnitFileState": "generated",
        "ReloadResult": "success",
    } | properties
    shown = "".join(f"{name}={value}\n" for name, value in properties.items())
    module = fake_module(
        {
            "name": "a.service",
            "enabled": None,
            "inputs_changed": False,
            "reload_inputs_changed": False,
        }
        | (parameters or {}),
        check_mode,
        {"systemctl show": (0, shown, "")},
    )
    return Unit(module)


def inputs(tmp_path, seconds):
    path = tmp_path / "input"
    path.write_text("")
    os.utime(path, (seconds, seconds))
    os.utime(tmp_path, (1, 1))
    return {
        "inputs": [str(tmp_path)],
        "reload_inputs": [],
        "inputs_changed": False,
        "reload_inputs_changed": False,
    }


def test_an_older_input_requires_no_action(tmp_path, fake_module):
    assert decide(unit(fake_module), inputs(tmp_path, STARTED_SECONDS - 1)) == ("", "")


def test_a_newer_input_restarts_the_service(tmp_path, fake_module):
    action, because = decide(unit(fake_module), inputs(tmp_path, STARTED_SECONDS + 1))

    assert action == "restart"
    assert str(tmp_path / "input") in because


def test_a_removed_input_restarts_the_service(tmp_path, fake_module):
    parameters = inputs(tmp_path, 1)
    (tmp_path / "input").unlink()

    assert decide(unit(fake_module), parameters)[0] == "restart"


def test_a_newer_reload_input_reloads_the_service(tmp_path, fake_module):
    parameters = inputs(tmp_path, STARTED_SECONDS + 1)
    parameters = parameters | {"inputs": [], "reload_inputs": parameters["inputs"]}

    assert decide(unit(fake_module), parameters)[0] == "reload"


@pytest.mark.parametrize("state", ["inactive", "failed", "activating", "deactivating"])
def test_a_service_that_is_not_active_is_started(tmp_path, fake_module, state):
    parameters = inputs(tmp_path, STARTED_SECONDS - 1)

    assert decide(unit(fake_module, ActiveState=state), parameters)[0] == "start"


def test_a_changed_unit_file_restarts_the_service(tmp_path, fake_module):
    parameters = inputs(tmp_path, STARTED_SECONDS - 1)

    assert decide(unit(fake_module, NeedDaemonReload="yes"), parameters)[0] == "restart"


def test_a_failed_reload_is_retried(tmp_path, fake_module):
    parameters = inputs(tmp_path, STARTED_SECONDS - 1)

    assert decide(unit(fake_module, ReloadResult="exit-code"), parameters)[0] == "reload"


@pytest.mark.parametrize(
    ("check_mode", "changed", "action"),
    [
        (True, ["inputs_changed"], "restart"),
        (True, ["reload_inputs_changed"], "reload"),
        (True, ["inputs_changed", "reload_inputs_changed"], "restart"),
        (False, ["inputs_changed", "reload_inputs_changed"], ""),
    ],
)
def test_announced_changes_of_inputs_count_only_in_check_mode(
    tmp_path, fake_module, check_mode, changed, action
):
    parameters = inputs(tmp_path, STARTED_SECONDS - 1) | dict.fromkeys(changed, True)

    assert decide(unit(fake_module, check_mode=check_mode), parameters)[0] == action


def test_check_mode_reports_the_start_of_a_missing_unit(fake_module):
    missing = unit(fake_module, check_mode=True, LoadState="not-found", ActiveState="inactive")

    assert start(missing, missing.module) == ("start", "it does not exist", True)
    assert [words[1] for words in missing.module.commands] == ["show"]


def test_the_log_is_returned_if_a_service_does_not_start(fake_module, failed):
    module = fake_module(
        answers={"systemctl restart": (1, "", "Job failed.\nmore"), "systemctl show": (0, "", "")},
        params={"name": "a.service"},
    )

    with pytest.raises(failed, match=r"a\.service did not restart: Job failed\. .*journalctl"):
        Unit(module).systemctl("restart", "a.service")
    assert module.commands[-1][0] == "journalctl"
