"""Fuzz targets: a module for each parser of bytes that come from outside."""
