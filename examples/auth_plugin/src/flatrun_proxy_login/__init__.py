"""Login by the header of an authenticating proxy, and no deletions at night."""
