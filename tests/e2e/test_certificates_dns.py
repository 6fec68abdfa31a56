"""Proofs by DNS with the real certbot and authority: two values of a name, and a certbot that dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cryptography import x509
from flatrun_e2e.edge import wait_until
from flatrun_e2e.pebble import ChallengeDns, Pebble
from flatrun_e2e.secured import EMAIL, names_of

from flatrun_certificates.dns_bridge import dns_bridge

PROGRAM = "import sys; from certbot.main import main; sys.exit(main())"
NAME = "_acme-challenge.example.test"


class Records:
    """Records at the authority's DNS server; `highest` is how many values stood together at most."""

    def __init__(self, dns: ChallengeDns) -> None:
        self._dns = dns
        self.standing: list[str] = []
        self.highest = 0

    def covers(self, name: str) -> bool:
        return name.endswith("example.test")

    def present(self, name: str, type: str, value: str) -> None:
        assert (name, type) == (NAME, "TXT")
        self.standing.append(value)
        self.highest = max(self.highest, len(set(self.standing)))
        self._dns.add_txt(name, value)

    def withdraw(self, name: str, type: str, value: str) -> None:
        self.standing = [one for one in self.standing if one != value]
        self._dns.clear_txt(name)
        for one in self.standing:
            self._dns.add_txt(name, one)


@pytest.fixture
def pebble(start_pebble: Callable[..., Pebble]) -> Pebble:
    return start_pebble()


def start_certbot(pebble: Pebble, folder: Path, env: Mapping[str, str], *hosts: str) -> subprocess.Popen[str]:
    words = ["certonly", "--non-interactive", "--agree-tos", "--email", EMAIL, "--server", pebble.directory]
    words += ["--authenticator", "flatrun-dns", "--preferred-challenges", "dns-01", "--cert-name", "made"]
    for option in ("config-dir", "work-dir", "logs-dir"):
        words += [f"--{option}", str(folder)]
    words += [word for host in hosts for word in ("-d", host)]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        env={"PATH": os.environ["PATH"], "REQUESTS_CA_BUNDLE": str(pebble.ca_file), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_name_and_its_wildcard_are_proved_by_two_values_that_stand_together(
    pebble: Pebble, tmp_path: Path
) -> None:
    records = Records(pebble.dns)
    with dns_bridge(records, tmp_path, pebble.dns.address) as env:
        certbot = start_certbot(pebble, tmp_path / "certbot", env, "example.test", "*.example.test")
        said, _ = certbot.communicate(timeout=120)
        assert certbot.returncode == 0, said
        assert records.standing == []
    assert records.highest == 2
    leaf = (tmp_path / "certbot/live/made/cert.pem").read_bytes()
    assert names_of(x509.load_pem_x509_certificate(leaf)) == {"example.test", "*.example.test"}


def test_what_a_certbot_that_was_killed_presented_is_withdrawn(pebble: Pebble, tmp_path: Path) -> None:
    records = Records(pebble.dns)
    # Nothing answers there: certbot has presented its record and waits until it is seen.
    with dns_bridge(records, tmp_path, "127.0.0.1:1") as env:
        certbot = start_certbot(pebble, tmp_path / "certbot", env, "*.example.test")
        try:
            wait_until(lambda: len(records.standing), 1, 60)
        finally:
            certbot.kill()
            certbot.communicate()
        assert len(records.standing) == 1
    assert records.standing == []


def test_without_the_panel_certbot_says_that_the_plugin_needs_it(pebble: Pebble, tmp_path: Path) -> None:
    certbot = start_certbot(pebble, tmp_path / "certbot", {}, "*.example.test")
    said, _ = certbot.communicate(timeout=60)
    assert certbot.returncode != 0
    assert "works only in a certbot that the panel has started" in json.dumps(said)
