"""A location is brought to its state by the registry's own commands, once."""

import json

import pytest
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    run_atoll,
)
from ansible_collections.atoll.registry.plugins.modules.location import (
    NotDrained,
    set_state,
    wait_until_complete,
    wait_until_drained,
)


class Failed(Exception):
    """The module ended with an error; its argument is the answer."""


class Registry:
    """A registry's commands, as podman runs them, for two locations."""

    def __init__(self, wanted, *, check_mode=False, name="eustorage", **eustorage):
        self.params = {
            "name": name,
            "state": wanted,
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

    def run_command(self, words):
        assert words[:4] == ["podman", "exec", "atoll-registry", "atoll"]
        if words[4] == "backfill":
            self.commands.append(words[4:])
            missing = self.rows[words[6]]["missing_blobs"]
            counted = {"missing_blobs": missing, "missing_bytes": 10 * missing}
            report = {"locations": {words[6]: counted}, "last": 70}
            return int(missing > 0), json.dumps(report), ""
        if words[4:] == ["locations", "--json"]:
            return 0, json.dumps(list(self.rows.values())), ""
        self.commands.append(words[4:])
        if words[4] == "drain":
            self.rows[words[5]]["state"] = "draining"
        if words[4] == "remove-location":
            del self.rows[words[5]]
        return 0, "", ""


def test_an_active_location_is_drained_once():
    registry = Registry("drained")

    assert set_state(registry)[0] is True
    assert set_state(registry)[0] is False
    assert registry.commands == [["drain", "eustorage"]]


def test_a_removed_location_stays_removed():
    registry = Registry("absent")

    assert set_state(registry) == (True, None)
    assert set_state(registry) == (False, None)
    assert registry.commands == [["remove-location", "eustorage", "--yes"]]


def test_a_removal_that_was_cut_off_goes_on():
    registry = Registry("absent", state="removed")

    assert set_state(registry) == (True, None)


def test_draining_does_not_bring_back_what_is_being_removed():
    registry = Registry("drained", state="removed")

    assert set_state(registry)[0] is False
    assert registry.commands == []


def test_nothing_is_changed_in_check_mode():
    registry = Registry("absent", check_mode=True)

    assert set_state(registry)[0] is True
    assert registry.commands == []


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


def test_what_a_command_said_last_is_the_reason(fake_module):
    module = fake_module(answers={"podman exec": (1, "", "one\nit is the last location\n")})

    with pytest.raises(CommandError, match="ended with 1: it is the last location"):
        run_atoll(module, "atoll-registry", "drain", "usstorage")


def test_a_registry_that_does_not_run_is_told_as_that(fake_module):
    module = fake_module(
        answers={"podman exec": (125, "", "Error: no container with name: no such container\n")}
    )

    with pytest.raises(CommandError, match="does not run on this host"):
        run_atoll(module, "atoll-registry", "locations")
