"""The instances of the registry and what they report about the whole."""
