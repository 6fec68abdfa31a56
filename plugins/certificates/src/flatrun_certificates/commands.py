"""``flatrun certificates``: the certificates of the running panel."""

from typing import Any
from urllib.parse import quote

import click

from flatrun_core.cli import Column, Session, api_options, pass_session


@click.group(name="certificates")
def certificates() -> None:
    """Certificates: list, request, renew."""


@certificates.command("list")
@api_options
@pass_session
def list_(session: Session) -> None:
    """List the certificates, and what is wrong with them."""
    found = session.api.get("/api/certificates")["certificates"]
    if session.json:
        session.output.data(found)
        return
    rows = [_row(session, one) for one in found]
    columns: list[str | Column] = [
        *(Column("Name", wrap=False), "State", Column("Days left", right=True)),
        *("Renewal", "Deployment", "Domains"),
    ]
    session.output.table(columns, rows, empty="There are no certificates.")
    for one in found:
        for warning in one.get("warnings", ()):
            session.output.warn(f"{one['domain']}: {warning}")


@certificates.command()
@click.argument("domain")
@api_options
@pass_session
def request(session: Session, /, domain: str) -> None:
    """Ask the authority for a certificate for DOMAIN and the other names of its entry."""
    with session.output.progress(f"Asking for {domain}"):
        made = session.api.post("/api/certificates", {"domain": domain})
    session.output.result(made, made["result"]["message"])


@certificates.command()
@click.argument("name", required=False)
@api_options
@pass_session
def renew(session: Session, /, name: str | None) -> None:
    """Renew NAME at once, or everything that is due."""
    path = f"/api/certificates/{quote(name, safe='')}/renew" if name else "/api/certificates/renew"
    with session.output.progress(f"Renewing {name}" if name else "Renewing what is due"):
        done = session.api.post(path)
    result: dict[str, Any] = done["result"]
    session.output.result(done, result["message"])
    for failed in result.get("failed_domains", ()):
        session.output.warn(f"{failed['domain']}: {failed['error']}")
    if not result["success"]:
        raise click.ClickException("not every certificate could be renewed")


def _row(session: Session, one: dict[str, Any]) -> tuple[object, ...]:
    renewal = one["renewal_at"][:10] if one["auto_renew"] else "off"
    state = session.output.state(one["status"])
    return (one["domain"], state, one["days_left"], renewal, one.get("deployment_id"), one["domains"])
