"""What happens in repositories, told to whoever asked for it: webhooks and Slack."""
