"""The domains of every deployment, routed through the reverse proxy."""
