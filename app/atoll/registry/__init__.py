"""Rules of repositories, blobs, uploads, manifests and tags, independent of HTTP and S3."""
