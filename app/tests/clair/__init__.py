"""A replay server that responds as Clair did when its answers were recorded."""
