"""The inventory that is created from answers."""

from __future__ import annotations

import copy
import importlib
import stat
import subprocess
import types

import pytest
import yaml

UTILITIES = "ansible_collections.atoll.registry.plugins.plugin_utils"
DIGEST = "5d0c1a9e7b3f4826" * 4


@pytest.fixture
def code():
    """Return the modules, which can be imported only after `pytest_configure`."""
    names = ("answer_parser", "answers", "inventory_files", "certificates", "questions")
    return types.SimpleNamespace(
        **{name: importlib.import_module(f"{UTILITIES}.{name}") for name in names}
    )


@pytest.fixture
def given(root):
    """Return the answers of the example, with image references."""
    answers = yaml.safe_load((root / "inventories/example-answers.yml").read_text())
    answers["atoll_images"] = {
        name: f"quay.example.org/atoll/{name}@sha256:{DIGEST}"
        for name in ("registry", "postgres", "redis", "load_balancer")
    }
    return answers


@pytest.fixture
def create(code, root, tmp_path):
    """Return a function that creates the inventory of answers, and returns its files."""

    def run(given, encrypt=None, decrypt=lambda content: content):
        answers = code.answer_parser.parse_answers(given, tmp_path)
        vault = code.inventory_files.Vault(encrypt, decrypt)
        templates = root / "playbooks/templates/inventory"
        inventory = code.inventory_files.Inventory(answers, templates, vault)
        files = inventory.missing_files()
        inventory.write(files)
        return [file.path for file in files]

    return run


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "inventories/production"


def load(path):
    return yaml.safe_load(path.read_text())


def snapshot(directory):
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_load_balancers_of_a_region_share_its_floating_address(create, given, directory):
    first = given["atoll_regions"][0]
    first["load_balancers"]["lb-us-2.example.org"] = "192.0.2.21"
    first["floating_address"] = "192.0.2.25"
    create(given)

    groups = load(directory / "hosts.yml")["all"]["children"]["atoll"]["children"]
    hosts = groups["atoll_load_balancer"]["hosts"]
    addresses = {name: hosts[name].get("keepalived_address") for name in hosts}
    assert addresses == {
        "lb-us.example.org": "192.0.2.25",
        "lb-us-2.example.org": "192.0.2.25",
        "lb-eu.example.org": None,
    }


@pytest.mark.parametrize("address", ["192.0.2.20", "lb.example.org"])
def test_floating_address_is_an_address_that_no_host_has(code, given, tmp_path, address):
    given["atoll_regions"][0]["floating_address"] = address

    with pytest.raises(code.answers.InvalidAnswers) as refused:
        code.answer_parser.parse_answers(given, tmp_path)
    assert "atoll_regions[0].floating_address is" in str(refused.value)


def test_second_run_with_the_same_answers_creates_nothing(create, given, directory):
    assert create(given)
    before = snapshot(directory)

    assert create(given) == []
    assert snapshot(directory) == before


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"atoll_hostname": "other.example.org"}, "hosts.yml differs from the answers in all."),
        ({"atoll_ssh_user": "root"}, "group_vars/atoll/connection.yml differs"),
        ({"atoll_superuser": "root"}, "differs from the answers in registry_config."),
    ],
)
def test_other_answers_are_refused_with_the_name_of_the_file(code, create, given, change, problem):
    create(given)

    with pytest.raises(code.inventory_files.InventoryConflict) as refused:
        create(given | change)

    assert problem in str(refused.value)
    assert "never overwritten" in str(refused.value)


def test_another_secret_of_a_store_is_refused_without_printing_it(code, create, given, directory):
    create(given)
    given["atoll_regions"][0]["store"]["secret_key"] = "another-secret"

    with pytest.raises(code.inventory_files.InventoryConflict) as refused:
        create(given)

    assert f"{directory}/group_vars/all/vault.yml" in str(refused.value)
    assert "vault_usstorage_secret_key" in str(refused.value)
    assert "another-secret" not in str(refused.value)


def test_interrupted_run_is_completed_with_the_same_secrets(create, given, directory):
    create(given)
    before = snapshot(directory)
    for name in ("hosts.yml", "group_vars/atoll/tls.yml"):
        (directory / name).unlink()

    assert create(given) == ["hosts.yml", "group_vars/atoll/tls.yml"]
    assert snapshot(directory) == before


def test_secrets_are_readable_only_by_their_owner_and_ignored_by_git(create, given, directory):
    create(given)
    private = {
        str(path.relative_to(directory))
        for path in snapshot(directory)
        if stat.S_IMODE(path.stat().st_mode) == 0o600
    }

    keys = {f"group_vars/atoll/tls/{name}.key" for name in ("ca", "postgres", "redis", "registry")}
    assert private == {"group_vars/all/vault.yml", *keys}
    subprocess.run(["git", "init", "--quiet", directory], check=True)
    for name in private:
        subprocess.run(["git", "check-ignore", "--quiet", name], cwd=directory, check=True)


def test_secrets_of_two_inventories_differ(create, given, directory):
    create(given)
    create(given | {"atoll_inventory": "inventories/other"})

    generated = ("vault_superuser_password", "vault_secret_key", "vault_postgres_password")
    first, second = (
        load(directory.parent / name / "group_vars/all/vault.yml")
        for name in ("production", "other")
    )
    assert all(first[name] != second[name] and len(first[name]) == 64 for name in generated)


def test_secrets_and_keys_are_encrypted_with_a_vault_password(create, given, directory):
    create(given, encrypt=lambda content: b"$ANSIBLE_VAULT" + content[::-1])

    encrypted = {
        str(path.relative_to(directory))
        for path, content in snapshot(directory).items()
        if content.startswith(b"$ANSIBLE_VAULT")
    }
    assert "group_vars/all/vault.yml" in encrypted
    assert {name for name in encrypted if name.endswith(".key")} == {
        f"group_vars/atoll/tls/{name}.key" for name in ("ca", "postgres", "redis", "registry")
    }
    assert not (directory / ".gitignore").exists()


def test_encrypted_secrets_without_their_password_are_refused(code, create, given):
    create(given)

    def decrypt(_content):
        raise ValueError("no vault password")

    with pytest.raises(code.inventory_files.InventoryConflict) as refused:
        create(given, decrypt=decrypt)
    assert "vault.yml cannot be decrypted" in str(refused.value)


def verify(directory, certificate, name):
    option = "-verify_ip" if name.replace(".", "").isdecimal() else "-verify_hostname"
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", "ca.crt", option, name, certificate],
        cwd=directory / "group_vars/atoll/tls",
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_certificates_are_valid_for_the_names_that_clients_verify(create, given, directory):
    create(given)

    for certificate, name in (
        ("registry.crt", "registry.example.org"),
        ("postgres.crt", "192.0.2.10"),
        ("redis.crt", "192.0.2.10"),
    ):
        assert verify(directory, certificate, name) == f"{certificate}: OK\n"
    assert "hostname mismatch" in verify(directory, "registry.crt", "www.example.org")


def test_certificate_of_a_registry_without_host_name_names_its_hosts(create, given, directory):
    create(given | {"atoll_hostname": "192.0.2.20"})

    assert "OK" in verify(directory, "registry.crt", "192.0.2.20")
    # HAProxy verifies the names of the inventory in this case.
    assert "OK" in verify(directory, "registry.crt", "eu-2.example.org")


@pytest.mark.parametrize("name", ["www.example.com", "203.0.113.1"])
def test_private_ca_cannot_certify_other_names(code, tmp_path, name):
    authority = code.certificates.create_authority(
        "CA", ["registry.example.org", "us-1", "192.0.2.10"]
    )
    folder = tmp_path / "group_vars/atoll/tls"
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(authority.certificate)
    foreign = code.certificates.issue(authority, [name])
    (folder / "foreign.crt").write_bytes(foreign.certificate)

    assert "permitted subtree violation" in verify(tmp_path, "foreign.crt", name)


def test_removed_certificate_is_issued_again_by_the_same_ca(create, given, directory):
    create(given)
    tls = directory / "group_vars/atoll/tls"
    authority = (tls / "ca.crt").read_bytes()
    (tls / "registry.crt").unlink()
    (tls / "registry.key").unlink()

    created = create(given)

    assert created == [f"group_vars/atoll/tls/registry.{end}" for end in ("key", "crt")]
    assert (tls / "ca.crt").read_bytes() == authority
    assert "OK" in verify(directory, "registry.crt", "registry.example.org")


def test_key_of_the_ca_may_be_kept_elsewhere_until_a_certificate_is_issued(
    code, create, given, directory
):
    create(given)
    tls = directory / "group_vars/atoll/tls"
    (tls / "ca.key").unlink()
    assert create(given) == []

    (tls / "redis.crt").unlink()
    (tls / "redis.key").unlink()
    with pytest.raises(code.inventory_files.InventoryConflict) as refused:
        create(given)
    assert "ca.key is missing" in str(refused.value)


def test_own_certificates_need_no_private_ca(create, given, directory, tmp_path):
    for name in ("registry", "shared"):
        for end in ("crt", "key"):
            (tmp_path / f"{name}.{end}").touch()
    (tmp_path / "company.crt").touch()
    shared = {"certificate": "shared.crt", "key": "shared.key", "ca": "company.crt"}
    given["atoll_certificates"] = {
        "registry": {"certificate": "registry.crt", "key": "registry.key"},
        "postgres": shared,
        "redis": shared,
    }
    create(given)

    assert not (directory / "group_vars/atoll/tls").exists()
    files = load(directory / "group_vars/atoll/tls.yml")
    assert files["registry_tls_key_file"] == str(tmp_path / "registry.key")
    assert files["registry_database_ca_file"] == str(tmp_path / "company.crt")
    assert files["registry_extra_ca_files"] == [str(tmp_path / "company.crt")]
    # The registry's certificate is one of a public CA.
    assert "registry_ca_file" not in files
    assert "load_balancer_ca_file" not in files


def test_managed_services_are_configured_by_their_uris(create, given, directory):
    del given["atoll_shared_host"]
    given["atoll_database_uri"] = "postgresql://atoll:s3cret@db.example.org/atoll"
    given["atoll_redis_uri"] = "rediss://:p4ssw0rd@redis.example.org:6380"
    create(given)

    config = load(directory / "group_vars/all/registry.yml")["registry_config"]
    assert config["DB_URI"] == "{{ vault_database_uri }}"
    assert config["DB_CONNECTION_ARGS"]["sslrootcert"] == "/etc/ssl/certs/ca-certificates.crt"
    assert config["BUILDLOGS_REDIS"] == {
        "host": "redis.example.org",
        "port": 6380,
        "password": "{{ vault_redis_password }}",
        "ssl": True,
    }
    groups = load(directory / "hosts.yml")["all"]["children"]["atoll"]["children"]
    assert groups["atoll_postgres"] == groups["atoll_redis"] == {"hosts": {}}
    vault = load(directory / "group_vars/all/vault.yml")
    assert vault["vault_redis_password"] == "p4ssw0rd"
    assert "vault_postgres_password" not in vault


PLANTED = [
    ("atoll_hostname", "https://registry.example.org", "not a host name in lower case"),
    ("atoll_ssh_user", "de ploy", "not the name of a user"),
    ("atoll_images", {"registry": "registry:latest"}, "atoll_images.registry"),
    ("atoll_shared_host", {"shared-1": "db.example.org"}, "not an IPv4 address"),
    ("atoll_ca_files", ["missing.pem"], "which is not a file"),
    ("atoll_certificates", {"registry": {"key": "none.key"}}, "registry.certificate is missing"),
    ("atoll_hostnme", "registry.example.org", "did you mean atoll_hostname?"),
]


def test_all_invalid_answers_are_reported_at_once(code, given, tmp_path):
    broken = copy.deepcopy(given)
    for name, value, _ in PLANTED:
        broken[name] = value
    first, second = broken["atoll_regions"]
    first["hosts"]["lb-us.example.org"] = "192.0.2.20"
    first["store"]["secret_key"] = "change-me"
    second["name"] = "US"
    second["hosts"]["eu-2.example.org"] = "198.51.100.11"
    del second["store"]["bucket"]
    second["store"]["endpoint"] = "ceph.example.org"

    with pytest.raises(code.answers.InvalidAnswers) as refused:
        code.answer_parser.parse_answers(broken, tmp_path)

    expected = [text for _, _, text in PLANTED] + [
        "both need port 443",
        "atoll_regions[0].store.secret_key is a placeholder",
        'atoll_regions[1].name is "US"',
        "198.51.100.11, which eu-1.example.org has, too",
        "atoll_regions[1].store.bucket is missing. Example: atoll-eu",
        'atoll_regions[1].store.endpoint is "ceph.example.org"',
    ]
    assert [text for text in expected if text not in str(refused.value)] == []


def test_missing_answers_are_named_with_examples(code, tmp_path):
    with pytest.raises(code.answers.InvalidAnswers) as refused:
        code.answer_parser.parse_answers({}, tmp_path)

    names = [problem.partition(" ")[0] for problem in refused.value.problems]
    assert names == [
        "atoll_inventory",
        "atoll_hostname",
        "atoll_regions",
        "atoll_images",
        "atoll_shared_host",
    ]
    assert all("Example: " in problem for problem in refused.value.problems)


def test_two_regions_with_the_same_bucket_are_refused(code, given, tmp_path):
    first, second = given["atoll_regions"]
    second["store"] = first["store"]

    with pytest.raises(code.answers.InvalidAnswers) as refused:
        code.answer_parser.parse_answers(given, tmp_path)
    assert "Each region needs its own bucket" in str(refused.value)


class Terminal:
    """Answers questions by their beginnings."""

    def __init__(self, replies):
        self.replies = replies
        self.private = []

    def prompt_until(self, msg, private=False):
        if private:
            self.private.append(msg)
        return next((reply for text, reply in self.replies.items() if text in msg), "").encode()


def test_missing_answers_are_asked_for_on_a_terminal(code, tmp_path):
    images = {name: f"r/{name}@sha256:{DIGEST}" for name in ("registry", "postgres", "redis")}
    terminal = Terminal(
        {
            "Directory of the inventory": "",
            "Host name": "registry.example.org",
            "Names of the regions": "us",
            "Region us: hosts": "us-1=192.0.2.11, us-2=192.0.2.12",
            "kind of object store": "ceph",
            "endpoint of the store": "https://ceph.example.org",
            "bucket": "atoll-us",
            "access key": "access",
            "secret key": "secret",
            "Host of PostgreSQL": "shared-1=192.0.2.10",
        }
    )

    asked = code.questions.ask_missing({"atoll_images": images}, terminal)

    answers = code.answer_parser.parse_answers(asked, tmp_path)
    assert answers.directory == tmp_path / "inventories/production"
    assert answers.hosts == {
        "shared-1": "192.0.2.10",
        "us-1": "192.0.2.11",
        "us-2": "192.0.2.12",
    }
    assert answers.regions[0].store.arguments["hostname"] == "ceph.example.org"
    assert answers.ssh_user == "deploy"
    assert len(terminal.private) == 2
