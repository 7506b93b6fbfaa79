"""Files of skopeo sync and regsync are read as mirrors, and differences are named."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from textwrap import dedent

import pytest
from atoll.errors import UserError
from atoll.mirroring.conversion.entries import SyncEntry
from atoll.mirroring.conversion.sync_files import read_sync_file
from hypothesis import example, given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 28, 12, 30, 5, tzinfo=UTC)

SKOPEO = """
    registry.example.com:
      images:
        busybox: []
        team/redis:
          - "1.0"
          - "2.0"
          - "sha256:0000000000000000000000000000000000000000000000000000000011111111"
      images-by-semver:
        alpine: ">= 3.12.0"
      credentials:
        username: john
        password: this is a secret
      tls-verify: false
      cert-dir: /home/john/certs
    docker.io:
      images-by-tag-regex:
        nginx: ^1\\.13\\.[12]-alpine-perl$
    """
REGSYNC = """
    version: 1
    creds:
      - registry: docker.io
        user: john
        pass: secret
      - registry: quay.io
        user: '{{env "QUAY_USER"}}'
        pass: '{{env "QUAY_PASS"}}'
    defaults:
      interval: 1h30m
      ratelimit: {min: 100}
    sync:
      - source: busybox:latest
        target: registry.local:5000/library/busybox:latest
        type: image
      - source: busybox:musl
        target: registry.local:5000/library/busybox:musl
        type: image
      - source: quay.io/prometheus/prometheus
        target: registry.local:5000/mirror/prometheus
        type: repository
        tags:
          allow: ["v3\\\\..*", latest]
          deny: [".*-rc.*"]
          semverRange: [">=3"]
        platforms: [linux/amd64, linux/arm64]
        referrers: false
    """


def read(text: str) -> list[SyncEntry]:
    return read_sync_file(dedent(text), NOW)


def regsync(**values: object) -> SyncEntry:
    """Return the only entry of a file of regsync."""
    given = {"source": "alpine", "target": "acme/alpine", "type": "repository", **values}
    lines = "\n    ".join(f"{key}: {value}" for key, value in given.items())
    return read_sync_file(f"sync:\n  - {lines}\n", NOW)[0]


def test_skopeo_files_are_read_with_lines() -> None:
    found = {one.source: one for one in read(SKOPEO)}
    assert {name: one.line for name, one in found.items()} == {
        "registry.example.com/busybox": 4,
        "registry.example.com/team/redis": 5,
        "registry.example.com/alpine": 10,
        "docker.io/nginx": 18,
    }
    assert found["registry.example.com/busybox"].settings == {
        "external_reference": "registry.example.com/busybox",
        "external_registry_username": "john",
        "external_registry_password": "this is a secret",
        "external_registry_config": {"verify_tls": False},
        "root_rule": ["*"],
    }
    assert found["registry.example.com/alpine"].settings["options"] == {"semver": [">= 3.12.0"]}
    nginx = found["docker.io/nginx"]
    assert nginx.settings["external_reference"] == "docker.io/library/nginx"
    assert nginx.settings["root_rule"] == ["1.13.[12]-alpine-perl"]
    assert (nginx.target, nginx.notes, nginx.problem) == ("nginx", (), "")


def test_notes_name_what_a_mirror_does_differently() -> None:
    redis = {one.source: one for one in read(SKOPEO)}["registry.example.com/team/redis"]
    assert redis.settings["root_rule"] == ["1.0", "2.0"]
    assert [note.partition(":")[0] for note in redis.notes] == [
        "cert-dir is ignored; set the option ca_certificate of the mirror",
        "images without a tag are not mirrored",
    ]


def test_regsync_files_are_read() -> None:
    busybox, prometheus = read(REGSYNC)
    assert busybox.settings == {
        "external_reference": "docker.io/library/busybox",
        "external_registry_username": "john",
        "external_registry_password": "secret",
        "sync_interval": 5400,
        "root_rule": ["latest", "musl"],
    }
    assert (busybox.line, busybox.target) == (14, "library/busybox")
    assert prometheus.target == "mirror/prometheus"
    assert prometheus.settings["root_rule"] == ["v3.*", "latest"]
    assert prometheus.settings["architecture_filter"] == ["amd64", "arm64"]
    assert prometheus.settings["options"] == {
        "exclude": ["*-rc*"],
        "semver": [">=3"],
        "referrers": "none",
    }
    assert prometheus.notes == (
        "the credentials for quay.io are not in the file; set them in the mirror",
        "indexes keep their digests; images of other platforms are left out",
        "ratelimit is ignored: UPSTREAM_LIMITS in the bundle limits requests",
    )


@pytest.mark.parametrize(
    ("schedule", "start", "interval"),
    [
        ("15 3 * * *", datetime(2026, 11, 28, 3, 15, tzinfo=UTC), 86_400),
        ("5 * * * *", datetime(2026, 11, 28, 12, 5, tzinfo=UTC), 3600),
    ],
)
def test_simple_schedules_become_intervals(schedule: str, start: datetime, interval: int) -> None:
    settings = regsync(schedule=f"'{schedule}'").settings
    assert (settings["sync_start_date"], settings["sync_interval"]) == (start, interval)


@pytest.mark.parametrize("schedule", ["*/5 * * * *", "0 3 * * 1", "61 3 * * *", "0 24 * * *", "x"])
def test_other_schedules_are_noted(schedule: str) -> None:
    found = regsync(schedule=f"'{schedule}'")
    assert "sync_interval" not in found.settings
    assert found.notes == (f"the schedule '{schedule}' is replaced by the default interval",)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"type": "registry"}, "mirrors keep single repositories"),
        ({"type": "registry"}, "make an organization the mirror of a namespace"),
        ({"type": "tag"}, "it must be image or repository"),
        ({"source": "'{{.Source}}'"}, "must not be templates"),
        ({"source": "UPPER/case"}, "is not a reference"),
        ({"type": "image", "source": "a:1", "target": "acme/a:2"}, "does not rename tags"),
        ({"type": "image", "source": "'a@sha256:0'"}, "images without a tag"),
        ({"interval": "often"}, "is not a duration"),
        ({"platform": "windows/amd64"}, "cannot be selected"),
        ({"tags": "[1]"}, "tags must be a map"),
        ({"tags": "{allow: ['(?i)a']}"}, "cannot be converted"),
        ({"tags": "{deny: ['a+']}"}, "would select more"),
        ({"tags": "{semverRange: ['not a range']}"}, "is not a range"),
        ({"tags": "{allow: [{a: b}]}"}, "must be a list of texts"),
        ({"tagSets": "[{allow: [a]}, {allow: [b], deny: [c]}]"}, "tagSets cannot be converted"),
    ],
)
def test_entries_that_cannot_be_mirrors_are_refused(
    values: dict[str, object], problem: str
) -> None:
    found = regsync(**values)
    assert problem in found.problem
    assert found.settings == {}
    assert found.line == 2


@pytest.mark.parametrize(
    ("selection", "problem"),
    [
        ("images-by-semver: {a: nonsense}", "is not a range"),
        ("images-by-tag-regex: {a: '('}", "incomplete expression|unbalanced"),
        ("images: {a: ['no tag']}", "is not a valid tag"),
        (f"images: {{a: ['sha256:{'0' * 64}']}}", "lists no tags"),
        ("images: {}", "it lists no images"),
        ("tls-verify: false", "it lists no images"),
        ('images: {a: []}\n  credentials: {username: "a\\nb"}', "external_registry_username"),
    ],
)
def test_wrong_selections_of_skopeo_are_refused(selection: str, problem: str) -> None:
    (found,) = read(f"registry.test:\n  {selection}\n")
    assert any(part in found.problem for part in problem.split("|"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1, 2]", "no configuration of skopeo sync or regsync"),
        ("a: b: c", "the file is not YAML"),
        ("sync: 1", "line 1: sync must be a list"),
        ("sync:\n- 1", "line 2: an entry of sync must be a map"),
        ("registry.test: 1", "line 1: registry.test must be a map"),
        ("x" * 2_000_000, "larger than 1 MiB"),
    ],
)
def test_other_files_are_refused(text: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        read_sync_file(text, NOW)


def test_unknown_settings_and_other_logins_are_named() -> None:
    (found,) = read(
        """
        registry.test:
          images: {a: []}
          credentials: {identitytoken: secret}
          tls_verify: false
        """
    )
    assert found.notes == (
        "the credentials have no username; set them in the mirror",
        "tls_verify is ignored: it is no setting of skopeo sync",
    )
    (found,) = read(
        """
        creds: [{registry: docker.io, hostname: mirror.test, reqPerSec: 5, blobMax: 1}]
        sync:
          - {source: a, target: acme/a, type: repository, tag: {allow: [x]}, fastCheck: true}
        """
    )
    assert found.notes == (
        "hostname of creds is ignored: name that host in the external_reference of the mirror",
        "reqPerSec of creds is ignored: UPSTREAM_LIMITS in the bundle limits requests",
        "tag is ignored: it is no setting of regsync",
    )


def test_several_ranges_of_skopeo_are_read() -> None:
    (found,) = read("registry.test: {images-by-semver: {a: ['>=1 <2', '>=3']}}")
    assert found.settings["options"] == {"semver": [">=1 <2", ">=3"]}


def test_defaults_of_regsync_apply_as_there() -> None:
    first, second = read(
        """
        defaults: {schedule: "15 3 * * *", referrers: false}
        sync:
          - {source: a, target: acme/a, type: repository, interval: 2h}
          - {source: b, target: acme/b, type: repository}
        """
    )
    assert first.settings["sync_interval"] == 7200
    assert second.settings["sync_interval"] == 86_400
    assert second.settings["options"] == {"referrers": "none"}


def test_images_of_one_repository_become_one_mirror_as_far_as_patterns_are_permitted() -> None:
    image = "{source: 'a:%s', target: 'acme/a:%s', type: image, backup: 'b-%s'}"
    lines = "\n".join(f"  - {image % ((tag,) * 3)}" for tag in range(501))
    first, last = read_sync_file(f"sync:\n{lines}\n", NOW)
    assert len(first.settings["root_rule"]) == 500
    assert (last.settings["root_rule"], last.line) == (["500"], 502)
    assert first.notes == ("backup is ignored: the time machine keeps replaced tags",)


def test_upstreams_without_tls_are_refused() -> None:
    (found,) = read(
        """
        creds: [{registry: "up.test:5000", tls: disabled}]
        sync: [{source: "up.test:5000/a", target: acme/a, type: repository}]
        """
    )
    assert "an upstream must use TLS" in found.problem


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["sync", "source", "target", "type", "tags", "allow", "images", "creds", "a.b"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=12,
    )
)
@example({"sync": [], "creds": True})
def test_any_document_is_read_or_refused(document: object) -> None:

    with suppress(UserError):
        read_sync_file(json.dumps(document), NOW)
