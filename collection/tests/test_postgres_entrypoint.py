"""PostgreSQL never starts with an empty database beside the data of another major version."""

import json
import subprocess

import pytest

MAJOR = "17"
PROGRAMS = {
    "postgres": """
if [[ $1 == --version ]]; then echo 'postgres (PostgreSQL) 17.6 (Debian 17.6-0+deb13u1)'; exit; fi
echo "served from ${!#}" """,
    "initdb": """
for word in "$@"; do [[ $word == --pgdata=* ]] && data=${word#*=}; done
mkdir "$data" && echo 17 >"$data/PG_VERSION" && echo initialized""",
    "pg_ctl": "",
    "psql": "",
}


class Image:
    """The entrypoint of the image of PostgreSQL 17, on a data directory of its own."""

    def __init__(self, root, directory):
        self.data = directory / "data"
        self.data.mkdir()
        programs = directory / "bin"
        programs.mkdir()
        for name, text in PROGRAMS.items():
            (programs / name).write_text(f"#!/bin/bash\n{text}\n")
            (programs / name).chmod(0o755)
        script = (root / "roles/postgres/files/entrypoint").read_text()
        assert script.count("=/var/lib/atoll-postgres\n") == 1
        self._script = directory / "entrypoint"
        self._script.write_text(script.replace("=/var/lib/atoll-postgres\n", f"={self.data}\n"))
        self._environment = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "POSTGRES_DATABASE": "atoll",
            "POSTGRES_USER": "atoll",
        }

    def add(self, name, version=None):
        (self.data / name).mkdir(parents=True)
        (self.data / name / "base").touch()
        if version is not None:
            (self.data / name / "PG_VERSION").write_text(f"{version}\n")

    def files(self):
        return sorted(str(path.relative_to(self.data)) for path in self.data.rglob("*"))

    def start(self):
        return subprocess.run(
            ["/bin/bash", self._script],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def image(root, tmp_path):
    return Image(root, tmp_path)


def test_an_empty_directory_is_initialized(image):
    started = image.start()

    assert started.returncode == 0, started.stderr
    assert started.stdout.splitlines() == [
        "initialized",
        f"served from --data-directory={image.data}/{MAJOR}",
    ]
    assert (image.data / MAJOR / "PG_VERSION").read_text() == f"{MAJOR}\n"


def test_existing_data_is_served(image):
    image.add(MAJOR, MAJOR)

    started = image.start()

    assert started.returncode == 0, started.stderr
    assert started.stdout == f"served from --data-directory={image.data}/{MAJOR}\n"


@pytest.mark.parametrize("name", [f"{MAJOR}.new", "16.new", "18.new"])
def test_an_interrupted_first_start_is_repeated(image, name):
    image.add(name, name.partition(".")[0])

    started = image.start()

    assert started.returncode == 0, started.stderr
    assert "initialized" in started.stdout


@pytest.mark.parametrize("other", ["9.6", "16", "18"])
def test_data_of_another_major_version_is_refused(image, other):
    image.add(other, other)
    before = image.files()

    started = image.start()

    assert started.returncode == 1
    assert f"PostgreSQL {other}, but this image contains PostgreSQL {MAJOR}" in started.stderr
    assert started.stdout == ""
    assert image.files() == before


@pytest.mark.parametrize("other", ["16", "18"])
def test_data_of_two_major_versions_is_refused(image, other):
    image.add(MAJOR, MAJOR)
    image.add(other, other)

    started = image.start()

    assert started.returncode == 1
    assert f"contains data of PostgreSQL {MAJOR} and of PostgreSQL {other}" in started.stderr
    assert started.stdout == ""


def test_a_directory_with_the_files_of_another_version_is_refused(image):
    image.add(MAJOR, "16")

    started = image.start()

    assert started.returncode == 1
    assert f"PostgreSQL 16, but this image contains PostgreSQL {MAJOR}" in started.stderr
    assert started.stdout == ""


def test_a_renamed_directory_of_another_version_is_ignored(image):
    image.add(MAJOR, MAJOR)
    image.add("16.old", "16")

    started = image.start()

    assert started.returncode == 0, started.stderr
    assert started.stdout == f"served from --data-directory={image.data}/{MAJOR}\n"


@pytest.mark.parametrize("name", [MAJOR, "16"])
def test_a_directory_without_a_version_is_refused(image, name):
    image.add(name)
    before = image.files()

    started = image.start()

    assert started.returncode == 1
    assert f"{image.data}/{name} has no PG_VERSION" in started.stderr
    assert started.stdout == ""
    assert image.files() == before


def test_the_data_directory_of_another_image_is_refused(image):
    (image.data / "PG_VERSION").write_text("16\n")
    before = image.files()

    started = image.start()

    assert started.returncode == 1
    assert "one directory per major version" in started.stderr
    assert image.files() == before


class Host:
    """A host with a data directory, and a podman that runs an image of PostgreSQL 17."""

    def __init__(self, root, directory):
        self.data = directory / "host"
        self._root = root
        self._directory = directory
        programs = directory / "programs"
        programs.mkdir()
        version = "[[ $* == *' --version' ]] && echo 'postgres (PostgreSQL) 17.6'"
        (programs / "podman").write_text(f"#!/bin/bash\n{version}\n")
        (programs / "podman").chmod(0o755)
        self._play = {
            "hosts": "localhost",
            "gather_facts": False,
            "environment": {"PATH": f"{programs}:/usr/bin:/bin"},
            "vars": {
                "postgres_data_directory": str(self.data),
                "__postgres_image": {"reference": "localhost/atoll-postgres@sha256:0"},
            },
            "tasks": [
                {
                    "ansible.builtin.import_tasks": str(
                        root / "roles/postgres/tasks/major_version.yml"
                    )
                }
            ],
        }

    def add(self, name):
        (self.data / name).mkdir(parents=True)
        (self.data / name / "PG_VERSION").touch()

    def roll_out(self, *, image_present=True, check=False):
        if not image_present:
            (self._directory / "programs/podman").write_text("#!/bin/bash\nexit 125\n")
        file = self._directory / "play.json"
        file.write_text(json.dumps([self._play]))
        words = ["ansible-playbook", "--inventory=localhost,", "--connection=local", file]
        return subprocess.run(
            [*words, *(["--check"] if check else [])],
            cwd=self._root,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def host(root, tmp_path):
    return Host(root, tmp_path)


@pytest.mark.parametrize("other", ["16", "18"])
def test_a_rollout_stops_before_it_changes_a_server_of_another_major_version(host, other):
    host.add(MAJOR)
    host.add(other)

    done = host.roll_out(check=True)

    assert done.returncode == 2
    assert f"contains data of PostgreSQL {other}, but" in " ".join(done.stdout.split())


@pytest.mark.parametrize("names", [[], [MAJOR], [MAJOR, "16.old"]])
def test_a_rollout_continues_on_data_of_the_same_version_or_none(host, names):
    for name in names:
        host.add(name)

    done = host.roll_out()

    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout + done.stderr
    assert "changed=0" in done.stdout


def test_a_dry_run_does_not_need_the_image(host):
    host.add("16")

    done = host.roll_out(image_present=False, check=True)

    assert done.returncode == 0, done.stdout


def test_the_image_has_one_major_version(root):
    """The entrypoint asks the server for its version; only the packages name it."""
    assert f"postgresql-{MAJOR}" in (root / "roles/postgres/files/Containerfile").read_text()
    assert MAJOR not in (root / "roles/postgres/files/entrypoint").read_text()
