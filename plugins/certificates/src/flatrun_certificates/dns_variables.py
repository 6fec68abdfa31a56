"""The variables by which the panel tells its certbot child about a proof by DNS."""

from typing import Final

SOCKET_VARIABLE: Final = "FLATRUN_DNS_SOCKET"
RESOLVER_VARIABLE: Final = "FLATRUN_DNS_RESOLVER"
