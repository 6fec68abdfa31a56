"""What the Engine's and compose's words mean, as the project's errors."""

import re
from typing import Any

from flatrun_core.errors import Conflict, DockerUnavailable, Failed, FlatrunError

_NO_ADDRESSES = re.compile(
    r"non-overlapping IPv[46] address pool|predefined address pools have been fully subnetted", re.IGNORECASE
)
# "Address already in use" alone may also speak of a container's own static address.
_PORT_TAKEN = re.compile(
    r"port is already allocated|ports are not available|failed to bind (?:host )?port"
    r"|(?:bind|listen|proxy|socket)[^\n]*address already in use",
    re.IGNORECASE,
)
_PORT_NUMBER = re.compile(r"(?:\d+\.\d+\.\d+\.\d+|\]|::):(\d{1,5})\b")
_NO_ENGINE = re.compile(
    r"cannot connect to the docker daemon|couldn't connect to docker daemon|error during connect:"
    r"|error while fetching server api version|permission denied while trying to connect to the docker"
    r"|is the docker daemon running",
    re.IGNORECASE,
)
NO_ADDRESSES_TEXT = (
    "The Docker Engine has no address range left for another network. Remove networks that are not used "
    "('docker network prune'), or give it more ranges by 'default-address-pools' in its daemon.json and "
    "start it again."
)


def known_refusal(text: str, **details: Any) -> FlatrunError | None:
    """The error of a text whose cause is known, or None."""
    if _NO_ADDRESSES.search(text):
        return Failed(NO_ADDRESSES_TEXT, code="NETWORK_POOL_EXHAUSTED", **details)
    taken = _PORT_TAKEN.search(text)
    if taken:
        line = text[text.rfind("\n", 0, taken.start()) + 1 :].split("\n", 1)[0]
        number = _PORT_NUMBER.search(line)
        port = f"Port {number[1]}" if number else "A port"
        return Conflict(f"{port} is already in use on this host", code="PORT_IN_USE", **details)
    return None


def engine_missing(text: str, **details: Any) -> DockerUnavailable | None:
    """The error when a program's output says that it could not reach the Engine, or None."""
    if _NO_ENGINE.search(text):
        return DockerUnavailable("The Docker Engine cannot be reached. Is it running?", **details)
    return None


def engine_refusal(message: str) -> FlatrunError:
    """The error of an answer of the Engine that no caller expected."""
    return known_refusal(message) or Failed(f"The Docker Engine refused: {message}", code="DOCKER_ERROR")
