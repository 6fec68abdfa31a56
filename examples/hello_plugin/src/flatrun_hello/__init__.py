"""Greets visitors and counts them."""
