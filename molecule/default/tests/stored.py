"""What lies in a location's bucket, past the registry."""

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
            # Not every store knows the checksum that is sent else.
            config=Config(request_checksum_calculation="when_required"),
        )

    def read(self, digest: str) -> bytes:
        """Return a blob's object as it is."""
        answer = self._client.get_object(Bucket=self._store["bucket"], Key=self._key(digest))
        return bytes(answer["Body"].read())

    def write(self, digest: str, content: bytes) -> None:
        """Put other bytes where a blob's are, as a broken store or a mistaken person does."""
        self._client.put_object(Bucket=self._store["bucket"], Key=self._key(digest), Body=content)

    def keys(self) -> list[str]:
        """Return the names of all objects in the bucket, and of those that are not finished."""
        bucket = self._store["bucket"]
        objects = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        uploads = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
        return [entry["Key"] for page in objects for entry in page.get("Contents", ())] + [
            entry["Key"] for page in uploads for entry in page.get("Uploads", ())
        ]

    def begin(self, name: str) -> None:
        """Begin an object in parts below the location's path, as a process that dies then does."""
        key = f"{self._store['storage_path']}/{name}".lstrip("/")
        self._client.create_multipart_upload(Bucket=self._store["bucket"], Key=key)

    def _key(self, digest: str) -> str:
        name = digest.removeprefix("sha256:")
        return f"{self._store['storage_path']}/sha256/{name[:2]}/{name}".lstrip("/")
