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
    message = fields.String(metadata={"description": "What is served otherwise than it was meant, and why"})
    left_out = fields.List(fields.Nested(LeftOutEntry))
    contested = fields.List(
        fields.String(),
        metadata={"description": "Hosts and paths that another one's file names too; they stay this one's"},
    )


class ProxyStatusAnswer(Schema):
    """The state of one deployment's routes."""

    status = fields.Nested(ProxyStatus, required=True)


class ProxySetupAnswer(Schema):
    """The outcome of a setup."""

    message = fields.String(required=True, metadata={"example": "Proxy setup completed"})
    result = fields.Nested(SetupResult, required=True)


class VirtualHostAnswer(Schema):
    """One site; `modified_at` is in seconds since 1970, 0 when it is not served."""

    name = fields.String(required=True, metadata={"example": "blog"})
    config_file = fields.String(required=True, metadata={"example": "/srv/nginx/conf.d/blog.conf"})
    modified_at = fields.Integer(required=True, metadata={"example": 1767225600})
    domains = fields.List(fields.String(), required=True, metadata={"example": ["blog.example.com"]})
    virtual_host_exists = fields.Boolean(required=True, metadata={"example": True})
    ssl_enabled = fields.Boolean(required=True, metadata={"example": True})
    quarantined = fields.Boolean()
    quarantine_reason = fields.String()
    message = fields.String(metadata={"description": "What is served otherwise than it was meant, and why"})


class VirtualHostsAnswer(Schema):
    """Every site, and what is left out."""

    virtual_hosts = fields.List(fields.Nested(VirtualHostAnswer), required=True)
    left_out = fields.List(fields.Nested(LeftOutAnswer), required=True)


class SyncedSite(Schema):
    """What became of one deployment's site; `created` when it was not served before."""

    name = fields.String(required=True, metadata={"example": "blog"})
    domain = fields.String(required=True, metadata={"example": "blog.example.com"})
    success = fields.Boolean(required=True, metadata={"example": True})
    created = fields.Boolean(required=True, metadata={"example": False})
    message = fields.String(metadata={"description": "Why it is not served"})


class ProxySyncAnswer(Schema):
    """What applying everything did, in numbers of deployments; those without a domain are `skipped`."""

    message = fields.String(required=True, metadata={"example": "Proxy synchronised"})
    synced = fields.Integer(required=True, metadata={"example": 1})
    skipped = fields.Integer(required=True, metadata={"example": 0})
    failed = fields.Integer(required=True, metadata={"example": 0})
    total = fields.Integer(required=True, metadata={"example": 1})
    results = fields.List(fields.Nested(SyncedSite), required=True)


class SubdomainAnswer(Schema):
    """A generated name; `full_domain` is empty without a default domain."""

    subdomain = fields.String(required=True, metadata={"example": "quiet-river"})
    full_domain = fields.String(required=True, metadata={"example": "quiet-river.example.com"})
    default_domain = fields.String(required=True, metadata={"example": "example.com"})
    auto_ssl = fields.Boolean(required=True, metadata={"example": False})
