"""Answers on the state of the proxy, as the API document shows them."""

from marshmallow import Schema

from flatrun_core import fields
from flatrun_domains.schemas import DomainAnswer, SetupResult


class SiteCertificate(Schema):
    """A certificate."""

    domain = fields.String(required=True, metadata={"example": "blog.example.com"})
    issuer = fields.String(required=True, metadata={"example": "R11"})
    not_before = fields.Time(required=True)
    not_after = fields.Time(required=True)
    days_left = fields.Integer(required=True, metadata={"example": 62})
    status = fields.String(required=True, metadata={"enum": ["valid", "expiring", "expired"]})
    path = fields.String(required=True)
    auto_renew = fields.Boolean(required=True)
    deployment_id = fields.String(metadata={"example": "blog"})
    domains = fields.List(fields.String(), required=True)


class LeftOutEntry(Schema):
    """An entry that is not served."""

    id = fields.String(required=True)
    domain = fields.String(required=True)
    reason = fields.String(required=True)


class LeftOutAnswer(LeftOutEntry):
    """An entry that is not served, with its deployment."""

    deployment_name = fields.String(required=True, metadata={"example": "blog"})


class ProxyStatus(Schema):
    """What is served for a deployment; what has no value is left out."""

    deployment_name = fields.String(required=True, metadata={"example": "blog"})
    exposed = fields.Boolean(required=True, metadata={"example": True})
    domain = fields.String(metadata={"example": "blog.example.com"})
    domains = fields.List(fields.String(), metadata={"example": ["blog.example.com"]})
    domains_config = fields.List(fields.Nested(DomainAnswer))
    virtual_host_exists = fields.Boolean(required=True, metadata={"example": True})
    ssl_enabled = fields.Boolean(required=True, metadata={"example": True})
    certificate_exists = fields.Boolean(required=True, metadata={"example": True})
    certificate = fields.Nested(SiteCertificate)
    certificates = fields.List(fields.Nested(SiteCertificate))
    quarantined = fields.Boolean(metadata={"description": "The proxy refuses it and serves the others"})
    quarantine_reason = fields.String()
    left_out = fields.List(fields.Nested(LeftOutEntry))


class ProxyStatusAnswer(Schema):
    """The state of one deployment's routes."""

    status = fields.Nested(ProxyStatus, required=True)


class ProxySetupAnswer(Schema):
    """The outcome of a setup."""

    message = fields.String(required=True, metadata={"example": "Proxy setup completed"})
    result = fields.Nested(SetupResult, required=True)


class VirtualHostAnswer(Schema):
    """One site."""

    deployment_name = fields.String(required=True, metadata={"example": "blog"})
    domains = fields.List(fields.String(), required=True, metadata={"example": ["blog.example.com"]})
    virtual_host_exists = fields.Boolean(required=True, metadata={"example": True})
    ssl_enabled = fields.Boolean(required=True, metadata={"example": True})
    modified_at = fields.Time(required=True, allow_none=True)
    quarantined = fields.Boolean()
    quarantine_reason = fields.String()


class VirtualHostsAnswer(Schema):
    """Every site, and what is left out."""

    vhosts = fields.List(fields.Nested(VirtualHostAnswer), required=True)
    left_out = fields.List(fields.Nested(LeftOutAnswer), required=True)


class ProxySyncAnswer(Schema):
    """What applying everything did."""

    message = fields.String(required=True, metadata={"example": "Proxy synchronised"})
    changed = fields.Boolean(required=True)
    nginx_reloaded = fields.Boolean(required=True)
    skipped = fields.Boolean(required=True)
    note = fields.String(metadata={"description": "What a person should know"})
    vhosts = fields.List(fields.Nested(VirtualHostAnswer), required=True)
    left_out = fields.List(fields.Nested(LeftOutAnswer), required=True)


class SubdomainAnswer(Schema):
    """A generated name; `full_domain` is empty without a default domain."""

    subdomain = fields.String(required=True, metadata={"example": "quiet-river"})
    full_domain = fields.String(required=True, metadata={"example": "quiet-river.example.com"})
    default_domain = fields.String(required=True, metadata={"example": "example.com"})
    auto_ssl = fields.Boolean(required=True, metadata={"example": False})
