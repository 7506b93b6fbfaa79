"""HTTP requests to destinations that users choose: webhooks and callbacks of log exports."""
