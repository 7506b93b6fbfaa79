"""A location is brought to its state by the registry's own commands, once."""

import json

import pytest
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
    """The module ended with an error; its argument is the answer."""


class Registry:
    """A registry's commands, as podman runs them, for two locations."""

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


def test_an_active_location_is_drained_once():
    registry = Registry("drained")

    assert changed(registry) is True
    assert changed(registry) is False
    assert registry.commands == [["drain", "eustorage"]]


def test_a_removed_location_stays_removed():
    registry = Registry("absent", state="draining")

    answer = set_state(registry)
    assert (answer["changed"], answer["location"]) == (True, None)
    assert answer["diff"] == {"before": {"state": "draining"}, "after": {"state": "absent"}}
    assert set_state(registry) == {"changed": False, "location": None}
    assert registry.commands == [["remove-location", "eustorage", "--yes"]]


def test_removal_fails_before_a_drain():
    registry = Registry("absent")

    with pytest.raises(CommandError, match="atoll drain eustorage --wait"):
        set_state(registry)
    assert registry.rows["eustorage"]["state"] == "active"


def test_a_removal_that_was_cut_off_goes_on():
    registry = Registry("absent", state="removed")

    assert changed(registry) is True
    assert registry.rows.keys() == {"usstorage"}


def test_draining_does_not_bring_back_what_is_being_removed():
    registry = Registry("drained", state="removed")

    assert changed(registry) is False
    assert registry.commands == []


def test_nothing_is_changed_in_check_mode():
    registry = Registry("absent", check_mode=True)

    assert changed(registry) is True
    assert registry.commands == []


def test_a_location_whose_store_is_lost_goes_with_exactly_what_was_accepted():
    registry = Registry("absent", accepted_loss=1)

    answer = set_state(registry)

    assert answer["loss"] == {"blobs": 1, "bytes": 70, "uploads": 2}
    assert answer["diff"]["after"] == {"state": "absent", "lost_blobs": 1}
    assert changed(registry) is False
    words = ["remove-location", "eustorage", "--lost", "--accept-loss", "1", "--json"]
    assert registry.commands == [words]


def test_in_check_mode_a_loss_is_looked_at_and_the_number_compared():
    registry = Registry("absent", accepted_loss=1, check_mode=True)

    assert set_state(registry)["loss"]["blobs"] == 1
    (words,) = registry.commands
    assert {"--accept-loss", "--dry-run"} <= set(words)
    registry.params["accepted_loss"] = None
    assert changed(registry) is True
    assert "--accept-loss" not in registry.commands[1]
    assert "eustorage" in registry.rows


def test_nothing_is_lost_without_a_number():
    registry = Registry("absent", accepted_loss=1)
    registry.params["accepted_loss"] = None

    with pytest.raises(CommandError, match="accepted_loss is missing"):
        set_state(registry)
    assert registry.commands == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"state": "drained", "lost": True}, "lost goes with state=absent"),
        ({"lost": False, "accepted_loss": 3}, "accepted_loss goes with lost"),
        ({"lost": True, "accepted_loss": 0}, ""),
    ],
)
def test_options_that_do_not_go_together_are_named(given, sentence):
    parameters = {"state": "absent", "lost": False, "accepted_loss": None} | given

    assert misuse(parameters).startswith(sentence)
    assert bool(misuse(parameters)) == bool(sentence)


def test_what_is_lost_is_listed_with_the_number_of_tags():
    registry = Registry("absent")

    found = read_loss(registry)

    assert found == LOSS | {"tags": 2}
    assert registry.commands == [["remove-location", "eustorage", "--lost", "--dry-run", "--json"]]


def test_what_was_lost_before_is_listed_where_no_location_is_named():
    registry = Registry("absent", name=None)

    read_loss(registry)

    assert registry.commands == [["lost", "--json"]]


def test_an_unknown_location_is_named_with_those_that_are_known():
    with pytest.raises(CommandError, match="'eustorag'; known are: usstorage, eustorage"):
        set_state(Registry("draining", name="eustorag"))


def test_who_waits_in_vain_is_told_what_is_left():
    registry = Registry("drained", state="draining", only_there=3, only_there_bytes=70)

    with pytest.raises(NotDrained, match=r"3 blobs \(70 bytes\) are only at 'eustorage'"):
        wait_until_drained(registry, registry.rows["eustorage"])


def test_a_location_that_has_everything_is_complete():
    registry = Registry("complete", missing_blobs=0)

    assert wait_until_complete(registry) == {"remaining": 0, "last": 70}
    assert registry.commands == [["backfill", "--location", "eustorage", "--json"]]


def test_who_waits_in_vain_for_copies_is_told_how_many_and_what_counted():
    registry = Registry("complete", missing_blobs=3)

    with pytest.raises(Failed) as failure:
        wait_until_complete(registry)
    (answer,) = failure.value.args
    assert answer["msg"].startswith("eustorage lacks 3 blobs (30 bytes)")
    assert (answer["remaining"], answer["last"]) == (3, 70)


def test_what_came_after_the_first_look_is_not_waited_for():
    registry = Registry("complete", missing_blobs=0)
    registry.params["until"] = 50

    wait_until_complete(registry)
    assert registry.commands == [["backfill", "--location", "eustorage", "--until", "50", "--json"]]


def test_each_location_is_told_with_its_lag_and_what_only_it_has():
    found = location_info.look(Registry("active", only_there=3))

    assert found.keys() == {"usstorage", "eustorage"}
    assert (found["eustorage"]["only_there"], found["eustorage"]["lag"]) == (3, LAG)
