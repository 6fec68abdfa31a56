"""The suite of proxy backends, with the real nginx in a container."""

from typing import Any

import pytest

from flatrun_core.ports.proxy import ProxyBackend, Tls
from flatrun_core.testing.proxy_contract import ProxyBackendContract


@pytest.mark.e2e
class TestWithNginx(ProxyBackendContract):
    @pytest.fixture
    def backend(self, real_edge: Any) -> ProxyBackend:
        return real_edge.backend

    @pytest.fixture
    def tls(self, real_edge: Any) -> Tls:
        return real_edge.certificate("*.example.com")
