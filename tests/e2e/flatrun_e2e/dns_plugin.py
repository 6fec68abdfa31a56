"""A plugin of the test's own that changes records at the authority's DNS server.

It is a distribution like any other, found by its entry point, in a folder that the panel's process
gets as PYTHONPATH.
"""

from __future__ import annotations

from pathlib import Path

SOURCE = '''
"""DNS records by the management of a DNS server for tests."""

import requests

from flatrun_core import HOOK_API, PluginContext, PluginInfo, hookimpl
from flatrun_core.ports.certificates import DNS_RECORDS

PLUGIN = PluginInfo(slug="dns", hook_api=HOOK_API, display_name="DNS of a test", category="edge")
MANAGEMENT, ZONE, LOG = {management!r}, {zone!r}, {log!r}


class Records:
    def __init__(self):
        self._values = {{}}

    def covers(self, name):
        return name == ZONE or name.endswith("." + ZONE)

    def present(self, name, type, value):
        self._note("present", name, type, value)
        self._values.setdefault(name, []).append(value)
        self._tell("set-txt", host=name + ".", value=value)

    def withdraw(self, name, type, value):
        self._note("withdraw", name, type, value)
        left = [one for one in self._values.pop(name, []) if one != value]
        self._tell("clear-txt", host=name + ".")
        for one in left:
            self.present(name, type, one)

    def _tell(self, path, **body):
        requests.post(MANAGEMENT + "/" + path, json=body, timeout=5).raise_for_status()

    def _note(self, *words):
        with open(LOG, "a") as log:
            log.write(" ".join(words) + "\\n")


@hookimpl
def flatrun_on_setup(ctx: PluginContext) -> None:
    """Offer the records."""
    ctx.services.provide(DNS_RECORDS, Records)
'''
METADATA = "Metadata-Version: 2.1\nName: flatrun-dns-of-a-test\nVersion: 0.1.0\n"
ENTRY_POINTS = "[flatrun.plugins]\ndns = flatrun_dns_of_a_test\n"


class DnsPlugin:
    """The plugin as a folder.

    Attributes:
        folder: what PYTHONPATH has to name.
    """

    def __init__(self, folder: Path, management: str, zone: str) -> None:
        self.folder, self._log = folder, folder / "changes.log"
        info = folder / "flatrun_dns_of_a_test-0.1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(METADATA, encoding="utf-8")
        (info / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
        source = SOURCE.format(management=management, zone=zone, log=str(self._log))
        (folder / "flatrun_dns_of_a_test.py").write_text(source, encoding="utf-8")

    @property
    def env(self) -> dict[str, str]:
        """What the panel's process needs in its environment."""
        return {"PYTHONPATH": str(self.folder)}

    def changes(self) -> list[list[str]]:
        """Return what was asked of it: action, name, type and value."""
        return [line.split() for line in self._log.read_text(encoding="utf-8").splitlines()]
