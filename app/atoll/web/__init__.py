"""The HTTP interface: Falcon resources of the distribution API and of Quay's API."""
