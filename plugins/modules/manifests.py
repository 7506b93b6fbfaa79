#!/usr/bin/python
"""Documentation of the action `manifests`, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: manifests
short_description: Render manifests for sites of the registry on Kubernetes clusters
description:
  - Checks the hosts of the group C(atoll_kubernetes), each of which stands for a site on a cluster,
    or writes the manifests of one of these sites. Connects to no cluster.
  - The directory of a site is a kustomization. Its subdirectory C(podman) contains a variant for
    C(podman kube play). Other files in the directory of a site are removed.
  - Secrets are written to files that only their owner can read, and never shown, not even with
    C(--diff).
version_added: 0.1.0
options:
  directory:
    description:
      - Directory on the controller with a subdirectory for each site. It may be relative to the
        working directory.
    type: path
    required: true
  state:
    description:
      - With C(checked), all sites are checked, and their problems are shown in one table. The task
        does not fail; the next one decides with RV(error_count). Run it once, before any file is
        written.
      - With C(present), the files of the site of this host are written, and obsolete ones removed.
    type: str
    choices: [checked, present]
    default: present
  stopped:
    description:
      - Whether the site is stopped while the first site is upgraded. All workloads have
        C(replicas) 0, and there is no migration and no variant for podman.
    type: bool
    default: false
  accept:
    description:
      - Ids of errors that are reported as warnings. Errors that make a rollout fail or lose data
        for certain cannot be accepted.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Can run in check mode, and report the changes without making them.
    support: full
  diff_mode:
    description: Shows the difference of files, without secrets.
    support: full
author:
  - The Atoll authors (@atoll)
"""

EXAMPLES = r"""
- name: Check all sites on clusters
  atoll.registry.manifests:
    directory: /srv/atoll/kubernetes
    state: checked
  run_once: true
  register: manifests

- name: Ensure the manifests of the site are current
  atoll.registry.manifests:
    directory: /srv/atoll/kubernetes
  when: manifests.error_count == 0
"""

RETURN = r"""
directory:
  description: Directory of the site.
  returned: with I(state=present)
  type: str
namespace:
  description: Namespace of all objects.
  returned: with I(state=present)
  type: str
deployment:
  description: Name of the registry's Deployment.
  returned: with I(state=present)
  type: str
paths:
  description: Files and directories that were changed.
  returned: with I(state=present)
  type: list
  elements: str
error_count:
  description: Number of errors. An error that several sites share counts once.
  returned: with I(state=checked)
  type: int
warning_count:
  description: Number of warnings.
  returned: with I(state=checked)
  type: int
summary:
  description: One sentence with these numbers.
  returned: with I(state=checked)
  type: str
problems:
  description:
    - All problems, errors first. Each has C(id), C(severity), C(host), C(problem) and C(remedy).
  returned: with I(state=checked)
  type: list
  elements: dict
"""
