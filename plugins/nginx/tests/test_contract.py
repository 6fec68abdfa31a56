"""The suite of proxy backends, with nginx judged by crossplane."""

from typing import Any

import pytest

from flatrun_core.ports.proxy import ProxyBackend
from flatrun_core.testing.proxy_contract import ProxyBackendContract


class TestWithAJudge(ProxyBackendContract):
    @pytest.fixture
    def backend(self, world: Any) -> ProxyBackend:
        return world.backend

    @pytest.fixture
    def tls(self, tls: Any) -> Any:
        return tls
