"""Copies of images from an upstream to a mirror, and the tags that point to them."""
