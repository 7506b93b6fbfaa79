#!/usr/bin/python
"""Ansible module: manage the state of a location of the registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: location
short_description: Activate, drain or remove a location of the registry
description:
  - A location is an object store with its name in DISTRIBUTED_STORAGE_CONFIG of the bundle.
  - Runs the C(atoll) command in the registry's container, so no password is required. Run the
    module on one host of a site that remains.
  - A location must be drained before it is removed, and it is not removed while a blob has its sole
    copy there, unless O(lost) is set and O(accepted_loss) is exactly the number of these blobs.
version_added: 0.1.0
options:
  name:
    description: Name of the location.
    type: str
    required: true
  state:
    description:
      - V(active) allows reads and writes, V(read-only) allows only reads.
      - V(draining) allows no writes, and copies the sole copies to other locations. The task does
        not wait for the copies.
      - V(drained) is the same as V(draining), and the task waits until the location holds no sole
        copy. A location that does not exist is drained.
      - V(complete) changes nothing, and waits until the location holds all required copies of the
        blobs that exist when the task starts.
      - V(absent) removes the location and its placements from the database. The objects in its
        store are kept. Unless O(lost) is set, an earlier task must set the state V(drained).
    type: str
    choices: [active, read-only, draining, drained, complete, absent]
    required: true
  lost:
    description:
      - Whether the location's store is permanently lost. The store is not used, and the location is
        removed with exactly O(accepted_loss) sole copies.
      - Refused while a site reports the store as available and one of these blobs is good there.
      - Requires O(state=absent).
    type: bool
    default: false
  accepted_loss:
    description:
      - The exact number of blobs that may be lost with the location, which
        M(atoll.registry.lost_info) lists.
      - Required with O(lost), except in check mode. In check mode it is compared if it is set.
    type: int
  timeout:
    description:
      - Seconds to wait for V(drained) or V(complete). If the task fails, copying continues, and the
        task can be run again.
    type: int
    default: 86400
  until:
    description:
      - With V(complete), the number of the newest blob to wait for, which is RV(last) of an earlier
        result.
    type: int
  report_after:
    description:
      - Seconds after which the progress is returned before O(timeout) has passed. Used internally
        by the action plugin.
    type: int
attributes:
  diff_mode:
    description: Returns the differences.
    support: full
    details: The state of the location, and the number of blobs that are lost with it.
seealso:
  - module: atoll.registry.location_info
  - module: atoll.registry.lost_info
extends_documentation_fragment:
  - atoll.registry.registry_command
"""

EXAMPLES = r"""
- name: Ensure eustorage is drained
  atoll.registry.location:
    name: eustorage
    state: drained

- name: Wait until the new location apstorage is complete
  atoll.registry.location:
    name: apstorage
    state: complete

- name: Ensure the drained location eustorage is absent
  atoll.registry.location:
    name: eustorage
    state: absent

- name: Ensure eustorage is absent, although its lost store held the sole copies of 12 blobs
  atoll.registry.location:
    name: eustorage
    state: absent
    lost: true
    accepted_loss: 12

- name: Ensure eustorage is read-only
  atoll.registry.location:
    name: eustorage
    state: read-only
"""

RETURN = r"""
location:
  description:
    - The resulting C(state) of the location, the number of its blobs (C(placed_blobs)), of its sole
      copies (C(only_there), C(only_there_bytes)), and of uploads in progress with data there
      (C(open_uploads)).
  returned: when the location exists
  type: dict
remaining:
  description:
    - The number of sole copies and uploads that prevent the removal of the location; with
      V(complete), the number of missing blobs.
  returned: always
  type: int
last:
  description: The number of the newest blob that was considered.
  returned: with V(complete)
  type: int
loss:
  description:
    - The number of C(blobs) that are lost with the location, their size in C(bytes), and the number
      of C(uploads) in progress that are aborted.
  returned: with O(lost), when the location is removed
  type: dict
"""

import time
from collections.abc import Collection, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    read_atoll,
    run_atoll,
)

PAUSE_SECONDS = 2
COMMANDS = {
    "active": ["activate"],
    "read-only": ["activate", "--read-only"],
    "draining": ["drain"],
    "absent": ["remove-location", "--yes"],
}


class NotDrained(Exception):
    """After the timeout, sole copies or uploads remain at the location."""

    def __init__(self, message: str, location: dict[str, Any]) -> None:
        super().__init__(message)
        self.location = location


def misuse(parameters: Mapping[str, Any]) -> str:
    """Return a sentence if the options are inconsistent."""
    if parameters["lost"] and parameters["state"] != "absent":
        return "lost requires state=absent"
    if parameters["accepted_loss"] is not None and not parameters["lost"]:
        return "accepted_loss requires lost=true"
    return ""


def read_locations(module: AnsibleModule) -> dict[str, dict[str, Any]]:
    """Return all locations by name."""
    rows = read_atoll(module, module.params["container"], "locations")
    return {row["location"]: row for row in rows}


def remaining(location: Mapping[str, Any] | None) -> int:
    """Return the number of sole copies and uploads that prevent the removal of a location."""
    return int(location["only_there"] + location["open_uploads"]) if location else 0


def require_known(name: str, wanted: str, known: Collection[str]) -> None:
    """Raise CommandError if the desired state requires a location that does not exist."""
    if name not in known and wanted not in ("absent", "drained"):
        raise CommandError(f"there is no location '{name}'; the locations are: {', '.join(known)}")


def command_for(wanted: str, location: Mapping[str, Any] | None) -> list[str]:
    """Return the command for the desired state of a location; empty if none is required."""
    if location is None:
        return []
    state = "draining" if wanted == "drained" else wanted
    if location["state"] == state:
        return []
    if state == "draining" and location["state"] == "removed":
        return []
    return COMMANDS[state]


def set_state(module: AnsibleModule) -> dict[str, Any]:
    """Change the state of the location, and return the result of the module."""
    name, wanted = module.params["name"], module.params["state"]
    known = read_locations(module)
    require_known(name, wanted, known)
    location = known.get(name)
    command = command_for(wanted, location)
    if not command:
        return {"changed": False, "location": location}
    loss = None
    if module.params["lost"]:
        loss = remove_lost(module, name)
    elif not module.check_mode:
        run_atoll(module, module.params["container"], command[0], name, *command[1:])
    return {
        "changed": True,
        "location": location if module.check_mode else read_locations(module).get(name),
        "loss": loss,
        "diff": difference(location, wanted, loss),
    }


def remove_lost(module: AnsibleModule, name: str) -> dict[str, Any]:
    """Remove a location whose store is lost, except in check mode, and return the loss."""
    accepted = module.params["accepted_loss"]
    if accepted is None and not module.check_mode:
        raise CommandError(
            "accepted_loss is required: set it to the number of blobs that may be lost"
        )
    words = ["remove-location", name, "--lost"]
    words += [] if accepted is None else ["--accept-loss", str(accepted)]
    words += ["--dry-run"] if module.check_mode else []
    report = read_atoll(module, module.params["container"], *words)
    return {key: report[key] for key in ("blobs", "bytes", "uploads")}


def difference(
    location: Mapping[str, Any] | None, wanted: str, loss: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the states before and after the change."""
    after: dict[str, Any] = {"state": "draining" if wanted == "drained" else wanted}
    if loss:
        after["lost_blobs"] = loss["blobs"]
    return {"before": {"state": location["state"]} if location else {}, "after": after}


def _deadline(module: AnsibleModule) -> float:
    seconds: int = module.params["timeout"]
    if module.params["report_after"] is not None:
        seconds = min(seconds, module.params["report_after"])
    return time.monotonic() + seconds


def wait_until_drained(
    module: AnsibleModule, location: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Wait until the location is drained, and return its last state.

    Raises:
        NotDrained: The location is not drained after the timeout.
    """
    deadline = _deadline(module)
    while location is not None and remaining(location):
        if time.monotonic() >= deadline:
            raise NotDrained(
                f"sole copies of {location['only_there']} blobs ({location['only_there_bytes']} "
                f"bytes) and data of {location['open_uploads']} uploads remain at "
                f"'{module.params['name']}' after {module.params['timeout']} seconds. Draining "
                "continues; run the task again. Last error: "
                f"{location.get('last_error') or 'none'}",
                location,
            )
        time.sleep(PAUSE_SECONDS)
        location = read_locations(module).get(module.params["name"])
    return location


def count_missing(module: AnsibleModule) -> tuple[int, int, int]:
    """Return the number of missing blobs, their bytes, and the number of the newest blob."""
    name, until = module.params["name"], module.params["until"]
    words = ["backfill", "--location", name]
    words += [] if until is None else ["--until", str(until)]
    # Exit status 1 means that copies are missing.
    report = read_atoll(module, module.params["container"], *words, accepted=(0, 1))
    missing = report["locations"][name]
    return missing["missing_blobs"], missing["missing_bytes"], report["last"]


def wait_until_complete(module: AnsibleModule) -> dict[str, Any]:
    """Wait until no copy is missing, and return the result of the module."""
    deadline = _deadline(module)
    while True:
        blobs, size, last = count_missing(module)
        module.params["until"] = last
        if not blobs:
            return {"remaining": 0, "last": last}
        if time.monotonic() >= deadline:
            module.fail_json(
                msg=f"{blobs} blobs ({size} bytes) are missing at {module.params['name']} after "
                f"{module.params['timeout']} seconds. Copying continues; run the task again. "
                "`atoll status` reports errors.",
                remaining=blobs,
                missing_bytes=size,
                last=last,
            )
        time.sleep(PAUSE_SECONDS)


def main() -> None:
    """Bring the location to the desired state."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {
                "type": "str",
                "choices": ["active", "read-only", "draining", "drained", "complete", "absent"],
                "required": True,
            },
            "lost": {"type": "bool", "default": False},
            "accepted_loss": {"type": "int"},
            "container": {"type": "str", "default": "atoll-registry"},
            "timeout": {"type": "int", "default": 86400},
            "until": {"type": "int"},
            "report_after": {"type": "int"},
        },
        supports_check_mode=True,
    )
    if wrong := misuse(module.params):
        module.fail_json(msg=wrong)
    answer: dict[str, Any] = {"changed": False}
    try:
        if module.params["state"] == "complete":
            # In check mode, earlier tasks have not started any copies.
            answer = {} if module.check_mode else wait_until_complete(module)
            module.exit_json(changed=False, **({"remaining": 0} | answer))
        answer = set_state(module)
        if module.params["state"] == "drained" and not module.check_mode:
            answer["location"] = wait_until_drained(module, answer["location"])
    except CommandError as error:
        module.fail_json(msg=str(error))
    except NotDrained as error:
        module.fail_json(
            msg=str(error),
            changed=answer["changed"],
            location=error.location,
            remaining=remaining(error.location),
        )
    result = {key: value for key, value in answer.items() if value is not None}
    module.exit_json(remaining=remaining(answer["location"]), **result)


if __name__ == "__main__":
    main()
