"""The state of a location is changed with the atoll command, and only if it differs."""

import json
from types import SimpleNamespace

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.atoll.registry.plugins.action import location as location_action
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import CommandError
from ansible_collections.atoll.registry.plugins.modules import location_info
from ansible_collections.atoll.registry.plugins.modules.location import (
    NotDrained,
    misuse,
    set_state,
    wait_until_complete,
    wait_until_drained,
)
from ansible_collections.atoll.registry.plugins.modules.lost_info import read_loss

pytestmark = pytest.mark.usefixtures("commands")

LAG = {"pending_blobs": 2, "pending_bytes": 70, "failing_blobs": 1, "oldest_seconds": 5.2}
BLOB = {"digest": "sha256:ab", "bytes": 70, "repositories": ["a/b", "a/c"]}
IMAGES = [
    {"repository": "a/b", "digest": "sha256:cd", "tags": ["1", "latest"]},
    {"repository": "a/c", "digest": "sha256:cd", "tags": []},
]
LOSS = {
    "blobs": 1,
    "bytes": 70,
    "uploads": 2,
    "repositories": ["a/b", "a/c"],
    "lost_blobs": [BLOB],
    "lost_images": IMAGES,
}


class Failed(Exception):
    """The module failed; the argument is its result."""


class Registry:
    """The atoll command of a registry with two locations."""

    def __init__(
        self, wanted, *, check_mode=False, name="eustorage", accepted_loss=None, **eustorage
    ):
        self.params = {
            "name": name,
            "location": name,
            "state": wanted,
            "lost": accepted_loss is not None,
            "accepted_loss": accepted_loss,
            "container": "atoll-registry",
            "timeout": 0,
            "until": None,
            "report_after": None,
        }
        self.check_mode = check_mode
        self.commands = []
        there = {"state": "active", "only_there": 0, "only_there_bytes": 0, "open_uploads": 0}
        self.rows = {
            "usstorage": there | {"location": "usstorage"},
            "eustorage": there | {"location": "eustorage"} | eustorage,
        }

    def fail_json(self, **answer):
        raise Failed(answer)

    def exec(self, container, program, *words):
        assert (container, program) == ("atoll-registry", "atoll")
        if words[0] == "backfill":
            self.commands.append(list(words))
            missing = self.rows[words[2]]["missing_blobs"]
            counted = {"missing_blobs": missing, "missing_bytes": 10 * missing}
            report = {"locations": {words[2]: counted}, "last": 70}
            return int(missing > 0), json.dumps(report), ""
        if words == ("locations", "--json"):
            return 0, json.dumps(list(self.rows.values())), ""
        if words == ("status", "--json"):
            lagging = [LAG | {"location": name, "state": "active"} for name in self.rows]
            return 1, json.dumps({"locations": lagging, "problems": ["a copy is late"]}), ""
        self.commands.append(list(words))
        if words[0] == "drain":
            self.rows[words[1]]["state"] = "draining"
        if words[0] == "remove-location" and "--dry-run" not in words:
            if self.rows[words[1]]["state"] == "active" and "--lost" not in words:
                return 1, "", f"'{words[1]}' is active; atoll drain {words[1]} --wait"
            del self.rows[words[1]]
        return 0, json.dumps(LOSS) if "--json" in words else "", ""


def changed(registry):
    return set_state(registry)["changed"]


def test_an_active_location_is_drained_only_once():
    registry = Registry("drained")

    assert changed(registry) is True
    assert changed(registry) is False
    assert registry.commands == [["drain", "eustorage"]]


def test_a_location_is_removed_only_once():
    registry = Registry("absent", state="draining")

    answer = set_state(registry)
    assert (answer["changed"], answer["location"]) == (True, None)
    assert answer["diff"] == {"before": {"state": "draining"}, "after": {"state": "absent"}}
    assert set_state(registry) == {"changed": False, "location": None}
    assert registry.commands == [["remove-location", "eustorage", "--yes"]]


def test_removal_fails_if_the_location_is_active():
    registry = Registry("absent")

    with pytest.raises(CommandError, match="atoll drain eustorage --wait"):
        set_state(registry)
    assert registry.rows["eustorage"]["state"] == "active"


def test_an_interrupted_removal_is_resumed():
    registry = Registry("absent", state="removed")

    assert changed(registry) is True
    assert registry.rows.keys() == {"usstorage"}


def test_draining_does_not_undo_a_removal():
    registry = Registry("drained", state="removed")

    assert changed(registry) is False
    assert registry.commands == []


def test_check_mode_changes_nothing():
    registry = Registry("absent", check_mode=True)

    assert changed(registry) is True
    assert registry.commands == []


def test_a_location_with_a_lost_store_is_removed_with_exactly_the_accepted_loss():
    registry = Registry("absent", accepted_loss=1)

    answer = set_state(registry)

    assert answer["loss"] == {"blobs": 1, "bytes": 70, "uploads": 2}
    assert answer["diff"]["after"] == {"state": "absent", "lost_blobs": 1}
    assert changed(registry) is False
    words = ["remove-location", "eustorage", "--lost", "--accept-loss", "1", "--json"]
    assert registry.commands == [words]


def test_check_mode_reports_the_loss_and_compares_the_number():
    registry = Registry("absent", accepted_loss=1, check_mode=True)

    assert set_state(registry)["loss"]["blobs"] == 1
    (words,) = registry.commands
    assert {"--accept-loss", "--dry-run"} <= set(words)
    registry.params["accepted_loss"] = None
    assert changed(registry) is True
    assert "--accept-loss" not in registry.commands[1]
    assert "eustorage" in registry.rows


def test_a_lost_location_is_not_removed_without_an_accepted_loss():
    registry = Registry("absent", accepted_loss=1)
    registry.params["accepted_loss"] = None

    with pytest.raises(CommandError, match="accepted_loss is required"):
        set_state(registry)
    assert registry.commands == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"state": "drained", "lost": True}, "lost requires state=absent"),
        ({"lost": False, "accepted_loss": 3}, "accepted_loss requires lost"),
        ({"lost": True, "accepted_loss": 0}, ""),
    ],
)
def test_inconsistent_options_are_reported(given, sentence):
    parameters = {"state": "absent", "lost": False, "accepted_loss": None} | given

    assert misuse(parameters).startswith(sentence)
    assert bool(misuse(parameters)) == bool(sentence)


def test_the_loss_contains_the_number_of_tags():
    registry = Registry("absent")

    found = read_loss(registry)

    assert found == LOSS | {"tags": 2}
    assert registry.commands == [["remove-location", "eustorage", "--lost", "--dry-run", "--json"]]


def test_earlier_losses_are_listed_without_a_location():
    registry = Registry("absent", name=None)

    read_loss(registry)

    assert registry.commands == [["lost", "--json"]]


def test_the_error_for_an_unknown_location_lists_all_locations():
    with pytest.raises(CommandError, match="'eustorag'; the locations are: usstorage, eustorage"):
        set_state(Registry("draining", name="eustorag"))


def test_the_error_after_the_timeout_contains_the_remaining_sole_copies():
    registry = Registry("drained", state="draining", only_there=3, only_there_bytes=70)

    with pytest.raises(NotDrained, match=r"3 blobs \(70 bytes\) and data of 0 uploads remain"):
        wait_until_drained(registry, registry.rows["eustorage"])


def test_a_location_without_missing_copies_is_complete():
    registry = Registry("complete", missing_blobs=0)

    assert wait_until_complete(registry) == {"remaining": 0, "last": 70}
    assert registry.commands == [["backfill", "--location", "eustorage", "--json"]]


def test_the_error_after_the_timeout_contains_the_missing_copies():
    registry = Registry("complete", missing_blobs=3)

    with pytest.raises(Failed) as failure:
        wait_until_complete(registry)
    (answer,) = failure.value.args
    assert answer["msg"].startswith("3 blobs (30 bytes) are missing at eustorage")
    assert (answer["remaining"], answer["last"]) == (3, 70)


def test_the_progress_is_reported_before_the_timeout():
    complete = Registry("complete", missing_blobs=3)
    drained = Registry("drained", state="draining", only_there=3)
    for registry in (complete, drained):
        registry.params |= {"timeout": 86400, "report_after": 0}

    with pytest.raises(Failed):
        wait_until_complete(complete)
    with pytest.raises(NotDrained):
        wait_until_drained(drained, drained.rows["eustorage"])


class Clock:
    """The time of an action, which passes only while its module waits."""

    def __init__(self, answers):
        self.now = 0.0
        self.answers = iter(answers)
        self.waits = []
        self.until = []

    def monotonic(self):
        return self.now

    def run_module(self, arguments, _task_vars):
        self.waits.append(arguments["report_after"])
        self.until.append(arguments.get("until"))
        self.now += arguments["report_after"] + 1
        return next(self.answers)


@pytest.fixture
def wait(monkeypatch):
    """Return a function that runs the action with the answers of its module."""

    def run(answers, **arguments):
        clock, lines = Clock(answers), []
        task = SimpleNamespace(args={"name": "eustorage"} | arguments, check_mode=False)
        plugin = location_action.ActionModule.__new__(location_action.ActionModule)
        plugin._task = task
        monkeypatch.setattr(plugin, "_module", clock.run_module)
        monkeypatch.setattr(location_action, "time", clock)
        monkeypatch.setattr(location_action.display, "display", lines.append)
        monkeypatch.setattr(ActionBase, "run", lambda *_arguments: {})
        return plugin.run(task_vars={}), clock, lines

    return run


def missing(blobs):
    return {"failed": True, "remaining": blobs, "missing_bytes": 10 * blobs, "last": 70}


def test_a_long_wait_takes_few_runs_of_the_module_and_shows_each_change(wait):
    answers = [missing(3), missing(3), *[missing(2)] * 5, {"changed": False, "remaining": 0}]

    result, clock, lines = wait(answers, state="complete")

    assert result["remaining"] == 0
    assert clock.waits == [0, 5, 10, 20, 40, 60, 60, 60]
    assert clock.until == [None, *[70] * 7]
    assert lines == [
        "eustorage: 3 blobs (30 bytes) remain to be copied",
        "eustorage: 2 blobs (20 bytes) remain to be copied",
    ]


def test_a_wait_ends_at_its_timeout(wait):
    result, clock, _lines = wait([missing(3)] * 4, state="complete", timeout=12)

    assert result["failed"] is True
    assert clock.waits == [0, 5, 5]


def test_later_blobs_are_not_waited_for():
    registry = Registry("complete", missing_blobs=0)
    registry.params["until"] = 50

    wait_until_complete(registry)
    assert registry.commands == [["backfill", "--location", "eustorage", "--until", "50", "--json"]]


def test_each_location_is_returned_with_its_lag_and_its_sole_copies():
    found = location_info.read_locations(Registry("active", only_there=3))

    assert found.keys() == {"usstorage", "eustorage"}
    assert (found["eustorage"]["only_there"], found["eustorage"]["lag"]) == (3, LAG)
