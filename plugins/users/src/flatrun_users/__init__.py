"""Accounts, sessions, API keys and access to deployments."""
