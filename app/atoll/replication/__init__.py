"""Bring every blob to every location where it must be, and lose nothing on the way."""
