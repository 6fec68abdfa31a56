"""The suite of proxy backends, with the real nginx in a container."""

from typing import Any

import pytest

from flatrun_core.ports.proxy import ProxyBackend, Tls
from flatrun_core.testing.proxy_contract import ProxyBackendContract


@pytest.mark.e2e
class TestWithNginx(ProxyBackendContract):
    @pytest.fixture
    def backend(self, cleared: Any) -> ProxyBackend:
        return cleared.backend

    @pytest.fixture
    def tls(self, cleared: Any) -> Tls:
        return cleared.certificate("*.example.com")
