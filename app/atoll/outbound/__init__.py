"""HTTP requests to destinations that users choose: webhooks, log exports."""
