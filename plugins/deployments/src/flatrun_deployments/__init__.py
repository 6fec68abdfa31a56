"""Deployments: folders with a compose file, and what runs of them."""
