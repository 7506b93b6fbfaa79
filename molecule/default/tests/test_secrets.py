"""Secrets are in no unit, log, process list or world-readable file."""

import pytest
from commands import run
from definition import Lab, Machine

# Each search must also find a word that is present, which proves that the search works.
SEARCHES = {
    "a unit file": ("grep -rohsF -f - /etc/systemd /etc/containers /run/systemd", "[Service]"),
    "the journal": ("grep -ohF -f - <(journalctl --no-pager)", "systemd"),
    "the process list": ("grep -ohF -f - <(ps -ww -e -o args=)", "/sbin/init"),
    "a world-readable file": (
        "runuser --user nobody -- "
        "grep -rohsF --devices=skip --exclude-dir=proc --exclude-dir=sys -f - /",
        "root:x:0:0:",
    ),
}


@pytest.fixture(scope="module")
def secrets(lab: Lab) -> dict[str, str]:
    found = {file.name: file.read_text().split()[0] for file in (lab.state / "secrets").iterdir()}
    assert len(found) >= 7
    return found


@pytest.mark.parametrize("place", SEARCHES)
def test_no_secret_is_found_in(place: str, lab: Lab, secrets: dict[str, str]) -> None:
    search, present = SEARCHES[place]

    for machine in lab.machines:
        found = _search(lab, machine, search, [present, *secrets.values()])

        leaked = {name for name, secret in secrets.items() if secret in found}
        assert not leaked, f"{place} of {machine.name} shows {leaked}"
        assert present in found, f"{place} of {machine.name} was not searched"


def test_no_host_stores_the_password_of_the_initial_superuser(
    lab: Lab, secrets: dict[str, str]
) -> None:
    search = "grep -rohsF -f - /etc"
    present, password = "root:x:0:0:", secrets["superuser_password"]

    for machine in lab.machines:
        assert _search(lab, machine, search, [present, password]) == {present}


# The words are passed on standard input, because arguments are in the process list.
def _search(lab: Lab, machine: Machine, search: str, words: list[str]) -> set[str]:
    patterns = "\n".join(words)
    script = f"{{ {search} || true; }} <<'PATTERNS' | sort --unique\n{patterns}\nPATTERNS\n"
    return set(run([*lab.ssh(machine), "sudo", "bash", "-s"], given=script).splitlines())
