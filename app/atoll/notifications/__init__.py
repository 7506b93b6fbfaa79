"""Notifications of events in repositories: webhooks and Slack."""
