#!/usr/bin/python
"""Ansible module: the state of one of a registry's locations."""

from __future__ import annotations

DOCUMENTATION = r"""
module: location
short_description: Use, drain or remove a location of the registry
description:
  - A location is where blobs are stored, as DISTRIBUTED_STORAGE_CONFIG of the bundle names it.
  - Runs the registry's own commands in its container, so it needs no password. Run it on one host
    of a site that stays.
  - A location is removed only after it was drained, and not while a blob has its last copy there,
    unless O(lost) is set and O(accepted_loss) is exactly the number of these blobs.
version_added: 0.1.0
options:
  name:
    description: Name of the location.
    type: str
    required: true
  state:
    description:
      - V(active) is read from and written to, V(read-only) only read from.
      - V(draining) takes nothing new, and what is only there is copied elsewhere. The task does not
        wait for that.
      - V(drained) is the same, and the task waits until nothing is only there. A location that does
        not exist is drained.
      - V(complete) waits until everything is there that must be there and was there to copy when
        the waiting began. It changes nothing.
      - V(absent) has no placements and no entry in the database any more. Its store is not touched.
        The location must be V(drained) before, which a task of its own does, unless O(lost).
    type: str
    choices: [active, read-only, draining, drained, complete, absent]
    required: true
  lost:
    description:
      - The location's store will never come back. It is asked for nothing, and the location is
        removed although blobs are only there, if O(accepted_loss) says how many.
      - Refused as long as a site finds the store up and one of these blobs is good there.
      - Only with O(state=absent).
    type: bool
    default: false
  accepted_loss:
    description:
      - Exactly so many blobs may be lost with the location. M(atoll.registry.lost_info) lists them.
      - Required with O(lost), but in check mode; said there, it is compared all the same.
    type: int
  timeout:
    description:
      - Seconds after which waiting for V(drained) or V(complete) gives up. The copying goes on all
        the same, and the same task can be run again.
    type: int
    default: 86400
  until:
    description:
      - With V(complete), what is to be there. Newer blobs do not count. RV(last) of an earlier
        answer.
    type: int
attributes:
  diff_mode:
    description: Shows what differs.
    support: full
    details: The location's state, and how many blobs are lost with it.
seealso:
  - module: atoll.registry.location_info
  - module: atoll.registry.lost_info
extends_documentation_fragment:
  - atoll.registry.registry_command
"""

EXAMPLES = r"""
- name: Copy what is only in eustorage to the other locations, and wait for it
  atoll.registry.location:
    name: eustorage
    state: drained

- name: Wait until everything is in the new apstorage
  atoll.registry.location:
    name: apstorage
    state: complete

- name: Remove eustorage, which the first of these tasks has drained
  atoll.registry.location:
    name: eustorage
    state: absent

- name: Remove eustorage, whose store will never come back, and with it the last copy of 12 blobs
  atoll.registry.location:
    name: eustorage
    state: absent
    lost: true
    accepted_loss: 12

- name: Read from eustorage, and write elsewhere
  atoll.registry.location:
    name: eustorage
    state: read-only
"""

RETURN = r"""
location:
  description:
    - The location as it was found at the end, with its C(state), the number of blobs that are
      there (C(placed_blobs)), that are nowhere else (C(only_there), C(only_there_bytes)), and of
      uploads that have bytes there (C(open_uploads)).
  returned: when it exists
  type: dict
remaining:
  description:
    - Blobs and uploads that still keep the location from being removed; with V(complete) blobs that
      are not there yet.
  returned: always
  type: int
last:
  description: The number of the newest blob that counted.
  returned: with V(complete)
  type: int
loss:
  description:
    - What is lost with the location, as numbers of C(blobs), of their C(bytes), and of C(uploads)
      that end since they had bytes there.
  returned: with O(lost), when the location is removed
  type: dict
"""

import time

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
    """The time is over, and something still keeps the location."""

    def __init__(self, message, location):
        super().__init__(message)
        self.location = location


def misuse(parameters):
    """Return a sentence if options do not go together."""
    if parameters["lost"] and parameters["state"] != "absent":
        return "lost goes with state=absent only"
    if parameters["accepted_loss"] is not None and not parameters["lost"]:
        return "accepted_loss goes with lost=true only"
    return ""


def look(module):
    """Return every location by its name."""
    rows = read_atoll(module, module.params["container"], "locations")
    return {row["location"]: row for row in rows}


def remaining(location):
    """Return how many blobs and uploads keep a location."""
    return location["only_there"] + location["open_uploads"] if location else 0


def require_known(name, wanted, known):
    """Raise unless the location exists, or need not."""
    if name not in known and wanted not in ("absent", "drained"):
        raise CommandError(f"there is no location '{name}'; known are: {', '.join(known)}")


def command_for(wanted, location):
    """Return the command that brings a location nearer to its wanted state, or nothing."""
    if location is None:
        return []
    state = "draining" if wanted == "drained" else wanted
    if location["state"] == state:
        return []
    if state == "draining" and location["state"] == "removed":
        return []
    return COMMANDS[state]


def set_state(module):
    """Change the state; return what was changed, and the location as it is then."""
    name, wanted = module.params["name"], module.params["state"]
    known = look(module)
    require_known(name, wanted, known)
    location = known.get(name)
    command = command_for(wanted, location)
    if not command:
        return {"changed": False, "location": location}
    loss = None
    if module.params["lost"]:
        loss = give_up(module, name)
    elif not module.check_mode:
        run_atoll(module, module.params["container"], command[0], name, *command[1:])
    return {
        "changed": True,
        "location": location if module.check_mode else look(module).get(name),
        "loss": loss,
        "diff": difference(location, wanted, loss),
    }


def give_up(module, name):
    """Remove a location whose store is gone, or only look; return what is lost with it."""
    accepted = module.params["accepted_loss"]
    if accepted is None and not module.check_mode:
        raise CommandError("accepted_loss is missing: say how many blobs may be lost")
    words = ["remove-location", name, "--lost"]
    words += [] if accepted is None else ["--accept-loss", str(accepted)]
    words += ["--dry-run"] if module.check_mode else []
    report = read_atoll(module, module.params["container"], *words)
    return {key: report[key] for key in ("blobs", "bytes", "uploads")}


def difference(location, wanted, loss):
    """Return the states before and after for a person to compare."""
    after = {"state": "draining" if wanted == "drained" else wanted}
    if loss:
        after["lost_blobs"] = loss["blobs"]
    return {"before": {"state": location["state"]}, "after": after}


def wait_until_drained(module, location):
    """Wait until nothing keeps the location; return it as it is then."""
    deadline = time.monotonic() + module.params["timeout"]
    while remaining(location):
        if time.monotonic() >= deadline:
            raise NotDrained(
                f"{location['only_there']} blobs ({location['only_there_bytes']} bytes) are only "
                f"at '{module.params['name']}', {location['open_uploads']} uploads have bytes "
                f"there, after {module.params['timeout']} seconds. It goes on draining; run this "
                f"again. What holds it up: {location.get('last_error') or 'no copy failed so far'}",
                location,
            )
        time.sleep(PAUSE_SECONDS)
        location = look(module).get(module.params["name"])
    return location


def look_for_missing(module):
    """Return how many blobs and bytes the location lacks, and the newest blob that counts."""
    name, until = module.params["name"], module.params["until"]
    words = ["backfill", "--location", name]
    words += [] if until is None else ["--until", str(until)]
    # It ends with 1 where something is missing.
    report = read_atoll(module, module.params["container"], *words, accepted=(0, 1))
    missing = report["locations"][name]
    return missing["missing_blobs"], missing["missing_bytes"], report["last"]


def wait_until_complete(module):
    """Wait until nothing is missing there, and answer."""
    deadline = time.monotonic() + module.params["timeout"]
    while True:
        blobs, size, last = look_for_missing(module)
        module.params["until"] = last
        if not blobs:
            return {"remaining": 0, "last": last}
        if time.monotonic() >= deadline:
            module.fail_json(
                msg=f"{module.params['name']} lacks {blobs} blobs ({size} bytes) after "
                f"{module.params['timeout']} seconds. The copying goes on; run this again. "
                "`atoll status` tells what holds it up.",
                remaining=blobs,
                missing_bytes=size,
                last=last,
            )
        time.sleep(PAUSE_SECONDS)


def main():
    """Bring the location to its wanted state."""
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
        },
        supports_check_mode=True,
    )
    if wrong := misuse(module.params):
        module.fail_json(msg=wrong)
    answer = {"changed": False}
    try:
        if module.params["state"] == "complete":
            # There is nothing to wait for where nothing is being changed.
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
    told = {key: value for key, value in answer.items() if value is not None}
    module.exit_json(remaining=remaining(answer["location"]), **told)


if __name__ == "__main__":
    main()
