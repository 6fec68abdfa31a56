"""What all tests share, those of the core, of every plugin and of the examples."""

import contextlib

# A plugin's tests need not have any property tests, nor the library for them.
with contextlib.suppress(ImportError):
    from hypothesis import HealthCheck, settings

    # On a busy machine slowness says nothing about what is tested.
    settings.register_profile("flatrun", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("flatrun")
