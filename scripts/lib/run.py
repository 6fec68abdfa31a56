"""Runs one of the scripts: `run.py up|down|test|journey [arguments]`. Its folder is the import path."""

import importlib
import sys

MODULES = {"up": "up", "down": "down", "test": "run_tests", "journey": "journey"}

if __name__ == "__main__":
    # No __pycache__ in the tree: the scripts may run as root in somebody else's clone.
    sys.dont_write_bytecode = True
    name = sys.argv.pop(1)
    shell = importlib.import_module("flatrun_scripts.shell")
    module = importlib.import_module(f"flatrun_scripts.{MODULES[name]}")
    sys.exit(shell.program(module.main))
