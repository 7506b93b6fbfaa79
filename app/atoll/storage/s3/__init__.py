"""The driver for S3."""
