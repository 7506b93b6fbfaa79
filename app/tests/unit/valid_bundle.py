"""A valid config.yaml for two sites, as a dictionary that tests change."""

from __future__ import annotations

STORE = [
    "RadosGWStorage",
    {
        "hostname": "s3.us.example",
        "is_secure": True,
        "storage_path": "/datastorage/registry",
        "bucket_name": "us",
        "access_key": "key-that-nobody-may-see",
        "secret_key": "secret-that-nobody-may-see",
    },
]

OTHER_STORE = [STORE[0], {**STORE[1], "bucket_name": "eu"}]  # type: ignore[dict-item]


def valid_bundle(**changes: object) -> dict[str, object]:
    """Return a bundle without problems, updated with `changes`."""
    redis = {"host": "10.19.0.2", "port": 6379, "password": "nobody-may-see", "ssl": True}
    return {
        "SERVER_HOSTNAME": "registry.example",
        "DB_URI": "postgresql://atoll:password-that-nobody-may-see@10.19.0.1:5432/atoll",
        "DB_CONNECTION_ARGS": {
            "autorollback": True,
            "threadlocals": True,
            "sslmode": "verify-full",
        },
        "DATABASE_SECRET_KEY": "0ce4f796-c295-415b-bf9d-b315114704b8",
        "TRUSTED_PROXIES": ["10.19.0.3"],
        "BUILDLOGS_REDIS": redis,
        "USER_EVENTS_REDIS": redis,
        "DISTRIBUTED_STORAGE_CONFIG": {"usstorage": STORE, "eustorage": OTHER_STORE},
        "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": ["usstorage", "eustorage"],
        "DISTRIBUTED_STORAGE_PREFERENCE": ["usstorage", "eustorage"],
        "FEATURE_STORAGE_REPLICATION": True,
        **changes,
    }


def with_store(**arguments: object) -> dict[str, object]:
    """Return DISTRIBUTED_STORAGE_CONFIG, with `arguments` changed in the first store."""
    values = {**STORE[1], **arguments}  # type: ignore[dict-item]
    store = ["RadosGWStorage", {k: v for k, v in values.items() if v is not None}]
    return {"usstorage": store, "eustorage": OTHER_STORE}
