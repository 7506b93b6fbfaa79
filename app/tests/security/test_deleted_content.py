"""The layers of a deleted image, which may contain a leaked secret, cannot be pulled."""

from __future__ import annotations

import os

import psycopg2
import yaml

from ..image.protocol import sha256
from ..image.running import RunningImage
from ..integration.services import Services
from .token_users import manifest_of, new_user


def end_upload_grace(image: RunningImage, services: Services) -> None:
    """Expire the time for which a pushed blob is readable without a manifest."""
    config = yaml.safe_load((image.bundle_directory / "config.yaml").read_text())
    database = config["DB_URI"].rpartition("/")[2]
    server = services.postgres_uri.rpartition("/")[0]
    connection = psycopg2.connect(f"{server}/{database}")
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE uploadedblob SET expires_at = now() - interval '7 minutes'")
    connection.close()


def test_a_blob_of_a_deleted_image_is_not_readable(image: RunningImage, services: Services) -> None:
    user = new_user(image, "bob")
    name, data = f"{user.username}/app", os.urandom(20)
    user.push(user.token(f"repository:{name}:pull,push"), name, "v1", data)
    token = user.token(f"repository:{name}:pull,delete")
    blob = f"/v2/{name}/blobs/{sha256(data)}"
    manifest = f"/v2/{name}/manifests/{sha256(manifest_of(data))}"
    end_upload_grace(image, services)
    for _ in range(2):
        assert user.request(token, "GET", blob).status_code == 307
    assert user.request(token, "DELETE", manifest).status_code == 202
    for path in (manifest, blob):
        for method in ("GET", "HEAD"):
            assert user.request(token, method, path).status_code == 404
