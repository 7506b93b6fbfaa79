"""Notifications of events in repositories: webhooks, Slack, e-mail and notices in the API."""
