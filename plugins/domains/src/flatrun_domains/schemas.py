"""Requests and answers of the routes, as the API document shows them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from marshmallow import Schema

from flatrun_core import InputSchema, fields
from flatrun_domains import rules
from flatrun_domains.names import DomainName
from flatrun_domains.requests import SPELLINGS

SERVICE = {"description": "Compose service; the primary one unless sent", "example": "web"}
DOMAIN = {"description": "Lower-cased; unicode is taken as IDNA", "example": "blog.example.com"}
PORT = {"description": "Port of the container; by default what the compose file names", "example": 80}
PATH = {"description": "Path at which it is served, and what is below it", "example": "/"}
STRIP = {"description": "Whether the target sees only what follows the path", "example": False}
TIMEOUT = {"description": "Seconds to wait for the target; 60 unless set", "example": 60}
BODY = {"description": "Largest request body, as `500m`; `0` is no limit", "example": "100m"}
ALIASES = {"description": "Further names, 99 at most", "example": ["www.blog.example.com"]}


def _by(rule: Callable[[str], object]) -> Callable[[str], None]:
    """A rule as a validator."""

    def check(value: str) -> None:
        try:
            rule(value)
        except ValueError as exc:
            text = str(exc)
            raise fields.ValidationError(f"{text[:1].upper()}{text[1:]}.") from exc

    return check


class DomainSslBody(InputSchema):
    """TLS of an entry."""

    enabled = fields.Boolean(metadata={"description": "Serve it by TLS", "example": True})
    auto_cert = fields.Boolean(
        allow_none=True, metadata={"description": "Obtain a certificate; as `enabled` unless sent"}
    )


class _EntryBody(InputSchema):
    service = fields.String(allow_none=True, metadata=SERVICE)
    port = fields.Port(allow_none=True, metadata=PORT)
    container_port = fields.Port(allow_none=True, metadata={"description": "Another spelling of `port`"})
    path = fields.String(allow_none=True, validate=_by(rules.path), metadata=PATH)
    path_prefix = fields.String(
        allow_none=True, validate=_by(rules.path), metadata={"description": "Another spelling of `path`"}
    )
    strip_prefix = fields.Boolean(allow_none=True, metadata=STRIP)
    proxy_timeout = fields.Integer(
        allow_none=True, validate=fields.Range(1, rules.MAX_TIMEOUT), metadata=TIMEOUT
    )
    max_body_size = fields.String(allow_none=True, validate=_by(rules.size), metadata=BODY)
    ssl = fields.Nested(DomainSslBody, allow_none=True)
    aliases = fields.List(
        DomainName(), allow_none=True, validate=fields.Length(max=rules.MAX_ALIASES), metadata=ALIASES
    )

    @fields.validates_schema
    def _agree(self, data: Mapping[str, Any], **_: Any) -> None:
        for key, other in SPELLINGS:
            sent = [data[name] for name in (key, other) if data.get(name) is not None]
            if len({rules.path(one) if isinstance(one, str) else one for one in sent}) > 1:
                raise fields.ValidationError(f"Differs from {other}.", key)
        _check_distinct([data.get("domain"), *(data.get("aliases") or ())])


def _check_distinct(names: Sequence[str | None]) -> None:
    known = [name for name in names if name]
    if len(set(known)) < len(known):
        raise fields.ValidationError("Must be distinct from the domain and from each other.", "aliases")


class NewDomain(_EntryBody):
    """A domain to be added."""

    id = fields.String(
        allow_none=True,
        validate=_by(rules.entry_id),
        metadata={
            "description": "Letters, digits, - and _, 64 at most; made up unless sent",
            "example": "primary",
        },
    )
    domain = DomainName(required=True, metadata=DOMAIN)


class ChangedDomain(_EntryBody):
    """A domain to be changed: what is not sent stays."""

    domain = DomainName(metadata=DOMAIN)


class ProxySetupBody(InputSchema):
    """How a deployment is exposed; everything is optional."""

    domain = DomainName(allow_none=True, metadata=DOMAIN)
    port = fields.Port(allow_none=True, metadata=PORT)
    ssl = fields.Boolean(allow_none=True, metadata={"description": "Serve it by TLS", "example": True})


class DomainSsl(Schema):
    """TLS of an entry."""

    enabled = fields.Boolean(required=True, metadata={"example": True})
    auto_cert = fields.Boolean(required=True, metadata={"example": True})


class DomainAnswer(Schema):
    """A domain entry, in both spellings."""

    id = fields.String(required=True, metadata={"example": "primary"})
    service = fields.String(required=True, metadata=SERVICE)
    domain = fields.String(required=True, metadata=DOMAIN)
    port = fields.Integer(required=True, metadata=PORT)
    container_port = fields.Integer(required=True, metadata=PORT)
    path = fields.String(required=True, metadata=PATH)
    path_prefix = fields.String(required=True, metadata={"description": "`path`, empty for `/`"})
    strip_prefix = fields.Boolean(required=True, metadata=STRIP)
    proxy_timeout = fields.Integer(metadata=TIMEOUT)
    max_body_size = fields.String(metadata=BODY)
    ssl = fields.Nested(DomainSsl, required=True)
    aliases = fields.List(fields.String(), required=True, metadata=ALIASES)
    problem = fields.String(metadata={"description": "Why it is not served, of an entry edited by hand"})


class DomainsAnswer(Schema):
    """The domains of a deployment."""

    domains = fields.List(fields.Nested(DomainAnswer), required=True)


class SiteCertificateResult(Schema):
    """How it went with one certificate."""

    domain = fields.String(required=True, metadata={"example": "blog.example.com"})
    success = fields.Boolean(required=True)
    message = fields.String(required=True)


class SetupResult(Schema):
    """What publishing did; what has no value is left out."""

    deployment_name = fields.String(required=True, metadata={"example": "blog"})
    domain = fields.String(metadata=DOMAIN)
    domains = fields.List(fields.String())
    success = fields.Boolean(required=True, metadata={"example": True})
    skipped = fields.Boolean(required=True, metadata={"description": "Nothing was done", "example": False})
    message = fields.String()
    virtual_host_created = fields.Boolean(required=True, metadata={"example": True})
    nginx_reloaded = fields.Boolean(required=True, metadata={"example": True})
    certificate_requested = fields.Boolean(required=True)
    certificate_exists = fields.Boolean(required=True)
    certificate_results = fields.List(fields.Nested(SiteCertificateResult))
    ssl_message = fields.String()
    ssl_error = fields.String(metadata={"description": "Why there is no certificate; the site is served"})
    target_warnings = fields.List(fields.String())


class DomainResult(Schema):
    """A domain that was added or changed."""

    message = fields.String(required=True, metadata={"example": "Domain added successfully"})
    domain = fields.Nested(DomainAnswer, required=True)
    proxy_result = fields.Nested(SetupResult, required=True, allow_none=True)


class DomainMessage(Schema):
    """That it is done."""

    message = fields.String(required=True, metadata={"example": "Domain deleted successfully"})


class RoutedDeployment(Schema):
    """That it is done, and to what."""

    message = fields.String(required=True, metadata={"example": "Proxy removed"})
    name = fields.String(required=True, metadata={"example": "blog"})


class ProxyRefusal(Schema):
    """Why the proxy refuses."""

    error = fields.String(required=True)
    code = fields.String(required=True, metadata={"example": "PROXY_CONFIG_FAILED"})
    details = fields.String(metadata={"description": "The proxy's own words"})


class DomainConflict(Schema):
    """Whose a domain is."""

    error = fields.String(required=True)
    code = fields.String(required=True, metadata={"example": "DOMAIN_EXISTS"})
    deployment = fields.String(metadata={"description": "For those who may read it", "example": "blog"})
