"""Notifications of events in repositories: webhooks, Slack and notices in the API."""
