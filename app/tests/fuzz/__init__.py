"""Fuzz targets, one module for each parser of untrusted bytes."""
