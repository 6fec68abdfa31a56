"""Caddy as the reverse proxy: a second, small backend beside nginx."""
