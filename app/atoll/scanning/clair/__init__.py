"""The client of Clair, the security scanner: its protocol, documents and errors."""
