"""Users, organizations, teams, permissions and tokens."""
