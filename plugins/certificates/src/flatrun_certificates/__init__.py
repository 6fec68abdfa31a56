"""TLS certificates from any ACME authority, renewed before it matters."""
