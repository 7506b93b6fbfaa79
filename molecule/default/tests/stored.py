"""Direct access to the objects in the bucket of a location."""

from typing import Any

import boto3
import information
from botocore.config import Config
from definition import Lab


class StoredBlobs:
    """The objects of blobs at one location."""

    def __init__(self, lab: Lab, location: str) -> None:
        self._store = information.describe(lab)["stores"][location]
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=self._store["endpoint"],
            aws_access_key_id=self._store["access_key"],
            aws_secret_access_key=self._store["secret_key"],
            verify=str(lab.certificate_authority),
            # Not every store supports the checksums that are sent by default.
            config=Config(request_checksum_calculation="when_required"),
        )

    def read(self, digest: str) -> bytes:
        """Return the content of a blob's object."""
        answer = self._client.get_object(Bucket=self._store["bucket"], Key=self._key(digest))
        return bytes(answer["Body"].read())

    def write(self, digest: str, content: bytes) -> None:
        """Overwrite a blob's object, as a defective store or an operator's mistake does."""
        self._client.put_object(Bucket=self._store["bucket"], Key=self._key(digest), Body=content)

    def keys(self) -> list[str]:
        """Return the keys of all objects and unfinished multipart uploads in the bucket."""
        bucket = self._store["bucket"]
        objects = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        uploads = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
        return [entry["Key"] for page in objects for entry in page.get("Contents", ())] + [
            entry["Key"] for page in uploads for entry in page.get("Uploads", ())
        ]

    def begin(self, name: str) -> None:
        """Start a multipart upload below the location's path and leave it unfinished."""
        key = f"{self._store['storage_path']}/{name}".lstrip("/")
        self._client.create_multipart_upload(Bucket=self._store["bucket"], Key=key)

    def _key(self, digest: str) -> str:
        name = digest.removeprefix("sha256:")
        return f"{self._store['storage_path']}/sha256/{name[:2]}/{name}".lstrip("/")
