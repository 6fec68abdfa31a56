"""What plugin authors test with: fixtures, fakes, contract suites and the conformance suite.

Public and versioned like the hooks. The fixtures come by a ``pytest11`` entry point as soon as the
core is installed; the classes are subclassed in a plugin's own tests.
"""
