"""Questions for missing answers, on a terminal."""

from __future__ import annotations

from typing import Any, Protocol

from ansible.errors import AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible_collections.atoll.registry.plugins.plugin_utils.answer_parser import (
    missing_answers,
    parse_hosts,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.store_kinds import STORE_KINDS

_QUESTIONS = {
    "atoll_inventory": ("Directory of the inventory", "inventories/production"),
    "atoll_hostname": ("Host name of the registry, as clients use it", ""),
    "atoll_images": ("Directory of the image archives", ".cache/images"),
}


class Interrupted(Exception):
    """The operator ended the questions."""


class Prompt(Protocol):
    """The part of Ansible's display that asks questions."""

    def prompt_until(self, msg: str, private: bool = False) -> bytes:
        """Return a line of input."""


def ask_missing(given: dict[str, Any], prompt: Prompt) -> dict[str, Any]:
    """Return the answers with those that were missing and could be asked for.

    Raises:
        Interrupted: the operator pressed Ctrl+C.
    """
    missing = missing_answers(given)
    answers = dict(given)
    try:
        for name, (question, default) in _QUESTIONS.items():
            if name in missing:
                answers[name] = _ask(prompt, question, default)
        if "atoll_regions" in missing:
            names = _ask(prompt, "Names of the regions, separated by commas", "us, eu")
            answers["atoll_regions"] = [
                _region(prompt, name) for name in names.replace(",", " ").split()
            ]
        if "atoll_shared_host" in missing:
            text = _ask(prompt, "Host of PostgreSQL and Redis, as NAME=ADDRESS", "")
            answers["atoll_shared_host"] = parse_hosts(text)
        if missing and "atoll_ssh_user" not in given:
            answers["atoll_ssh_user"] = _ask(prompt, "SSH user that may become root", "deploy")
    except AnsiblePromptNoninteractive:
        return given
    except AnsiblePromptInterrupt as error:
        raise Interrupted("interrupted; no file was created") from error
    return answers


def _region(prompt: Prompt, name: str) -> dict[str, Any]:
    hosts = _ask(prompt, f"Region {name}: hosts, as NAME=ADDRESS, NAME=ADDRESS", "")
    balancers = _ask(prompt, f"Region {name}: load balancers, as NAME=ADDRESS; empty for none", "")
    return {
        "name": name,
        "hosts": parse_hosts(hosts),
        "load_balancers": parse_hosts(balancers),
        "store": _store(prompt, name),
    }


def _store(prompt: Prompt, region: str) -> dict[str, str]:
    kind = _ask(prompt, f"Region {region}: kind of object store ({', '.join(STORE_KINDS)})", "s3")
    store = {"kind": kind}
    for name, field in STORE_KINDS.get(kind, ("", {}))[1].items():
        # Credentials of S3 are optional only for machines with an identity.
        if not (field.required or field.secret or name in ("region", "endpoint")):
            continue
        words = name.replace("_", " ")
        note = "" if field.required else "; empty for none"
        question = f"Region {region}: {words} of the store, such as {field.example}{note}"
        if text := _ask(prompt, question, "", private=field.secret):
            store[name] = text
    return store


def _ask(prompt: Prompt, question: str, default: str, *, private: bool = False) -> str:
    suffix = f" [{default}]" if default else ""
    given = prompt.prompt_until(f"{question}{suffix}: ", private=private)
    return given.decode(errors="replace").strip() or default
