"""What `scripts/up`, `scripts/down` and `scripts/test` share.

Only the standard library: these modules run on a bare machine, before anything is installed.
"""
