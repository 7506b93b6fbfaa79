"""The running instances of the registry, and what each of them reports."""
