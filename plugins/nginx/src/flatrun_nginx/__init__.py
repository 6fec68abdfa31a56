"""nginx in a container as the reverse proxy, which no bad site can stop."""
