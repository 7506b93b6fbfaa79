#!/usr/bin/python
"""Documentation of the action `preflight`, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Report all problems of an inventory and of its hosts in one table
description:
  - Checks the inventory on the controller, shows all problems in one table with those that the
    hosts reported, and optionally writes them to a file.
  - Does not fail if there are problems. The next task decides with RV(error_count).
  - Runs once for all hosts of the groups C(atoll), C(atoll_sites), C(atoll_postgres),
    C(atoll_redis), C(atoll_clair) and C(atoll_load_balancer), and connects to none.
version_added: 0.1.0
options:
  results:
    description:
      - The results of the checks on hosts, by host. Hosts that were unreachable, and hosts whose
        checks failed, are reported as problems.
    type: dict
  accept:
    description:
      - Ids of errors that are reported as warnings. Errors that make a rollout fail or lose data
        for certain cannot be accepted.
      - A list, or text with commas between the ids.
    type: raw
  report:
    description: File on the controller that the problems are written to, as JSON.
    type: path
attributes:
  check_mode:
    description: Can run in check mode, and report the changes without making them.
    support: full
    details: Changes nothing but the file of O(report), which is also written in check mode.
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Report all problems
  atoll.registry.preflight:
    report: preflight.json
    accept: [certificate-expires]
  register: preflight
  run_once: true
"""

RETURN = r"""
error_count:
  description: Number of errors. An error that several hosts share counts once.
  returned: always
  type: int
warning_count:
  description: Number of warnings.
  returned: always
  type: int
summary:
  description: One sentence with these numbers.
  returned: always
  type: str
problems:
  description:
    - All problems, errors first. Each has C(id), C(severity), C(host), C(problem) and C(remedy).
  returned: always
  type: list
  elements: dict
"""
