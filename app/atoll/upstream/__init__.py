"""The client for other registries, and the budget of requests that all sites share."""
