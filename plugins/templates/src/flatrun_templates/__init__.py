"""Templates that deployments are made from."""
