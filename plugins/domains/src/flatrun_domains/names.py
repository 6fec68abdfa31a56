"""The field of requests and settings for a host name."""

from flatrun_core import fields
from flatrun_domains import rules


class DomainName(fields.HostName):
    """A host name by the rules of an entry: one with signs that nobody sees is refused."""

    def _parse(self, text: str) -> str:
        return rules.host(text)
