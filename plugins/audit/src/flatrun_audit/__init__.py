"""A record of what was done, by whom, that shows whether it was changed."""
