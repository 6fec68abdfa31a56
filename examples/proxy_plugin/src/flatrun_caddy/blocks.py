"""The sites as Caddy's site blocks: what is answered under which names, and what is refused before."""

import ssl
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from flatrun_caddy.settings import PATH
from flatrun_core import Invalid
from flatrun_core.ports.proxy import Route, Site, Tls
from flatrun_core.site_rules import check_site

DEFAULT_MAX_BODY: Final = 100 * 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Block:
    """One site block. Without names it is for every other name, and without routes it hangs up."""

    scheme: str
    names: tuple[str, ...]
    routes: tuple[Route, ...] = ()
    tls: Tls | None = None
    redirect: bool = False

    @property
    def hsts(self) -> str:
        """The header that keeps clients with TLS; empty when they need not stay."""
        return "max-age=63072000" if self.tls and self.tls.hsts else ""

    @property
    def strict(self) -> bool:
        """Whether the path decides who answers, so that it must be readable in one way only."""
        return any(route.path != "/" for route in self.routes)


def blocks(sites: Sequence[Site]) -> list[Block]:
    """Everything that Caddy shall answer, in an order that depends on the sites only.

    Names of one host stay together, but for wildcards, which must not come before other sites' names.
    Where sites share a name, theirs is one block.
    """
    routes: dict[str, list[Route]] = {}
    tls: dict[str, Tls] = {}
    for host in (host for site in sites for host in site.hosts):
        for name in (host.name, *host.aliases):
            routes.setdefault(name, []).extend(host.routes)
            if host.tls:
                tls.setdefault(name, host.tls)
    alike: dict[tuple[bool, tuple[Route, ...], Tls | None], list[str]] = {}
    for name in sorted(routes):
        longest_first = sorted(routes[name], key=lambda route: (-len(route.path), route.path))
        alike.setdefault(("*" in name, tuple(longest_first), tls.get(name)), []).append(name)
    found = [block for (_, own, cert), names in alike.items() for block in _of(tuple(names), own, cert)]
    others = ["http", "https"] if tls else ["http"]
    return found + [Block(scheme, ()) for scheme in others]


def _of(names: tuple[str, ...], routes: tuple[Route, ...], tls: Tls | None) -> Iterator[Block]:
    if tls:
        yield Block("https", names, routes, tls)
    yield Block("http", names, () if tls else routes, redirect=tls is not None)


def sift(sites: Sequence[Site], changed: Collection[str]) -> tuple[list[Site], dict[str, str]]:
    """The sites that may be rendered, and why the others may not, by deployment.

    Of two that claim one path of a name the changed one is refused.
    """
    good: list[Site] = []
    refused: dict[str, str] = {}
    taken: dict[tuple[str, str], str] = {}
    for site in sorted(sites, key=lambda site: (site.deployment in changed, site.deployment)):
        problem = site_problem(site)
        claims = [] if problem else list(_claims(site))
        for name, path in [claim for claim in claims if claim in taken]:
            problem = f"{name}{path} is served for {taken[name, path]} already"
        if problem:
            refused[site.deployment] = problem
        else:
            good.append(site)
            taken.update(dict.fromkeys(claims, site.deployment))
    return sorted(good, key=lambda site: site.deployment), refused


def _claims(site: Site) -> Iterator[tuple[str, str]]:
    for host in site.hosts:
        for name in (host.name, *host.aliases):
            yield from ((name, route.path) for route in host.routes)


def site_problem(site: Site) -> str:
    """Why a site cannot be written into a Caddyfile; empty when it can."""
    try:
        check_site(site)
    except Invalid as exc:
        return exc.message
    certificates = [host.tls for host in site.hosts if host.tls]
    return next((problem for tls in certificates if (problem := _tls_problem(tls))), "")


def _tls_problem(tls: Tls) -> str:
    """Caddy refuses all sites for one bad certificate, so it is opened first."""
    for path in (tls.chain, tls.key):
        if not PATH.fullmatch(str(path)):
            return f"The certificate's path {str(path)!r} has characters with a meaning in a Caddyfile"
    try:
        # With a password of its own, or OpenSSL would ask for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.chain, tls.key, password="none")  # noqa: S106
    except (OSError, ValueError) as exc:
        return f"The certificate in {tls.chain} cannot be used with its key: {exc}"
    return ""
