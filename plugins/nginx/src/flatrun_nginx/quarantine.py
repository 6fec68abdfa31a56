"""Files that nginx refuses, kept under a name that it does not include, with the reason beside them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flatrun_nginx.files import read_json

SUFFIX: Final = ".quarantined"
REASON: Final = ".quarantined.json"

# A refused file that has not changed is tried again after this many seconds: what it names, such as a
# certificate, may have come back.
RETRY_AFTER: Final = 60.0


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A refused file by the name that it had, and what it is reported under; ``foreign`` is not of ours."""

    name: str
    deployment: str
    reason: str
    at: float
    foreign: bool = False

    def record(self) -> str:
        """What is kept beside it."""
        record = {"name": self.deployment, "reason": self.reason, "at": self.at, "foreign": self.foreign}
        return json.dumps(record, indent=2) + "\n"

    def may_be_tried(self, now: float) -> bool:
        """Whether enough time has passed."""
        return not self.at <= now < self.at + RETRY_AFTER


def read(folder: Path) -> Mapping[str, Quarantined]:
    """Every refused file by the name that it had. Raises ``OSError``."""
    found = {}
    for path in sorted(folder.glob(f"*{REASON}")):
        record = read_json(path)
        name = path.name.removesuffix(REASON)
        deployment, reason, at = record.get("name"), record.get("reason"), record.get("at")
        found[name] = Quarantined(
            name,
            deployment if isinstance(deployment, str) else name.removesuffix(".conf"),
            reason if isinstance(reason, str) else "",
            at if isinstance(at, int | float) else 0.0,
            record.get("foreign") is True,
        )
    return found


def text_of(folder: Path, name: str) -> str | None:
    """What a refused file says; None when it is gone or no text."""
    try:
        return (folder / f"{name}{SUFFIX}").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
