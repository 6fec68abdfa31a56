"""Contracts between plugins: Protocols, frozen dataclasses and the keys they are found by.

Two plugins never import one another; they meet here, in a hook, or in an event.
"""
