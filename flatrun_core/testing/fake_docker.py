"""Docker in memory, held to the same contract suites as the real one."""

from flatrun_core.testing.fake_compose import ComposeCall, FakeCompose
from flatrun_core.testing.fake_containers import FakeContainer
from flatrun_core.testing.fake_engine import FakeEngine
from flatrun_core.testing.fake_exec import ExecCall

__all__ = ["ComposeCall", "ExecCall", "FakeCompose", "FakeContainer", "FakeEngine"]
