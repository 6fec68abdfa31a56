"""Docker in memory, held to the same contract suite as the real one (``docker_contract``)."""

from flatrun_core.testing.fake_compose import ComposeCall, FakeCompose
from flatrun_core.testing.fake_containers import FakeContainer
from flatrun_core.testing.fake_engine import FakeEngine

__all__ = ["ComposeCall", "FakeCompose", "FakeContainer", "FakeEngine"]
