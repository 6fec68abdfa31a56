"""What comes in and what goes out, as the API document shows it."""

from typing import Final

from marshmallow import Schema

from flatrun_core import InputSchema, fields

_TIME: Final = {"example": "2026-04-05T10:00:00Z"}
_WARNING: Final = "It is due for renewal since 2026-03-06 10:00 UTC, and renewal failed once."


class CertificateDomain(fields.HostName):
    """A domain name, or ``*.`` and one."""

    def _parse(self, text: str) -> str:
        return f"*.{super()._parse(text[2:])}" if text.startswith("*.") else super()._parse(text)


class CertificateRequestSchema(InputSchema):
    """A certificate to be had."""

    domain = CertificateDomain(
        required=True,
        metadata={
            "description": "A host; where it is routed, the certificate covers its entry's names. `*.` "
            "before a name asks for a wildcard, which needs a DNS provider",
            "example": "app.example.com",
        },
    )


class CertificateDeleteQuery(InputSchema):
    """Whether sites lose TLS."""

    force = fields.QueryBoolean(
        load_default=False,
        metadata={"description": "Serve the sites that use it without TLS, and delete it"},
    )


class AutoRenewSchema(InputSchema):
    """Whether a certificate is renewed by itself."""

    auto_renew = fields.Boolean(required=True, metadata={"example": False})


class CertificateSchema(Schema):
    """A certificate."""

    domain = fields.String(
        required=True, metadata={"description": "Name of its folder", "example": "app.example.com"}
    )
    issuer = fields.String(required=True, metadata={"example": "R11"})
    not_before = fields.Time(required=True, metadata={"example": "2026-01-05T10:00:00Z"})
    not_after = fields.Time(required=True, metadata=_TIME)
    days_left = fields.Integer(
        required=True, metadata={"description": "Whole days; negative when it is over", "example": 62}
    )
    status = fields.String(
        required=True, metadata={"enum": ["valid", "expiring", "expired"], "example": "valid"}
    )
    path = fields.String(
        required=True,
        metadata={"example": "/var/flatrun/deployments/nginx/certs/live/app.example.com/cert.pem"},
    )
    auto_renew = fields.Boolean(required=True, metadata={"example": True})
    deployment_id = fields.String(
        metadata={"description": "Absent when no deployment has one of its names", "example": "my-app"}
    )
    domains = fields.List(
        fields.String(), required=True, metadata={"example": ["app.example.com", "www.app.example.com"]}
    )
    renewal_at = fields.Time(
        required=True, metadata={"description": "From when on it is due", "example": "2026-03-06T10:00:00Z"}
    )
    last_error = fields.String(metadata={"description": "Why the last attempt at a new one failed"})
    next_attempt_at = fields.Time(metadata={"description": "When the next one is, after a failure", **_TIME})
    served = fields.Boolean(
        metadata={
            "description": "Whether the proxy served it when it was asked last; absent while it does not run",
            "example": True,
        }
    )
    served_checked_at = fields.Time(metadata={"description": "When it was asked", **_TIME})
    warnings = fields.List(
        fields.String(), metadata={"description": "What somebody has to know", "example": [_WARNING]}
    )


class CertificatesAnswer(Schema):
    """Certificates."""

    certificates = fields.List(fields.Nested(CertificateSchema), required=True)


class OneCertificateAnswer(Schema):
    """One certificate."""

    certificate = fields.Nested(CertificateSchema, required=True)


class IssuanceResultSchema(Schema):
    """How one request of an authority ended."""

    domain = fields.String(required=True, metadata={"example": "app.example.com"})
    success = fields.Boolean(required=True, metadata={"example": True})
    message = fields.String(required=True, metadata={"example": "Successfully received certificate."})


class CertificateRequestAnswer(Schema):
    """A certificate that was had."""

    message = fields.String(required=True, metadata={"example": "Certificate requested"})
    result = fields.Nested(IssuanceResultSchema, required=True)


class FailedDomainSchema(Schema):
    """A certificate that could not be renewed."""

    domain = fields.String(required=True, metadata={"example": "shop.example.com"})
    error = fields.String(
        required=True, metadata={"example": "The authority cannot look shop.example.com up."}
    )


class RenewalSchema(Schema):
    """What was renewed."""

    success = fields.Boolean(
        required=True, metadata={"description": "False when one failed", "example": True}
    )
    renewed = fields.Boolean(required=True, metadata={"example": True})
    message = fields.String(required=True, metadata={"example": "No certificate is due for renewal."})
    renewed_domains = fields.List(fields.String(), required=True, metadata={"example": ["app.example.com"]})
    failed_domains = fields.List(
        fields.Nested(FailedDomainSchema), metadata={"description": "Where one failed"}
    )


class RenewalAnswer(Schema):
    """What was renewed."""

    message = fields.String(required=True, metadata={"example": "Renewal completed"})
    result = fields.Nested(RenewalSchema, required=True)


class RenewOneAnswer(Schema):
    """A certificate that was renewed."""

    message = fields.String(required=True, metadata={"example": "Certificate renewed"})
    domain = fields.String(required=True, metadata={"example": "app.example.com"})
    result = fields.Nested(IssuanceResultSchema, required=True)


class DeploymentResultSchema(Schema):
    """How each of a deployment's certificates did."""

    results = fields.List(fields.Nested(IssuanceResultSchema), required=True)
    success = fields.Boolean(
        required=True, metadata={"description": "False when one failed", "example": True}
    )


class DeploymentRenewalAnswer(Schema):
    """A deployment's certificates that were renewed."""

    message = fields.String(required=True, metadata={"example": "Renewal completed"})
    deployment = fields.String(required=True, metadata={"example": "my-app"})
    result = fields.Nested(DeploymentResultSchema, required=True)


class CertificateDeletedAnswer(Schema):
    """A certificate that is gone."""

    message = fields.String(required=True, metadata={"example": "Certificate deleted"})
    domain = fields.String(required=True, metadata={"example": "app.example.com"})


class AutoRenewAnswer(Schema):
    """What is so now."""

    domain = fields.String(required=True, metadata={"example": "app.example.com"})
    auto_renew = fields.Boolean(required=True, metadata={"example": False})
