"""The hooks of certificates; implement them with ``@hookimpl(optionalhook=True)``.

The types are in ``flatrun_core.ports.certificates``. ``ctx`` is the implementing plugin's own
context; an implementation may leave it out.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flatrun_core import hookspec

if TYPE_CHECKING:
    from flatrun_core import PluginContext
    from flatrun_core.ports.certificates import CertificateEvent, Issuer


@hookspec
def flatrun_register_issuers(ctx: "PluginContext") -> "Sequence[Issuer]":
    """Ways to get a certificate, by name; ``certificates.issuer`` names the one in use.

    Called once, at assembly. ``certbot`` is this plugin's own. Two of one name stop the start,
    naming both plugins. An issuer leaves its files in ``live/<name>`` as certbot does, is called by
    one thread at a time, and raises ``Failed``, ``RateLimited`` or ``TimedOut`` with a sentence.
    """


@hookspec
def flatrun_on_certificate_issued(ctx: "PluginContext", event: "CertificateEvent") -> None:
    """A certificate was had or renewed; its files stand."""


@hookspec
def flatrun_on_certificate_failed(ctx: "PluginContext", event: "CertificateEvent") -> None:
    """A certificate could not be had; ``error`` says why, and an earlier one is still served."""
