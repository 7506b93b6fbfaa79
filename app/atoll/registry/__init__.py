"""Repositories, blobs, uploads, manifests and tags: the rules, without HTTP and without S3."""
