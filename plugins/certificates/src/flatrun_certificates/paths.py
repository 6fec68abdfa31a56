"""Where certificates and challenges are on this host."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flatrun_certificates.settings import CertbotSettings
from flatrun_core import PanelSettings, PluginContext, ServiceKey
from flatrun_core.ports.settings import SETTINGS


@dataclass(frozen=True, slots=True)
class Folders:
    """``config`` is certbot's own folder, ``live`` in it holds one folder a lineage."""

    config: Path
    webroot: Path

    @property
    def live(self) -> Path:
        """The newest files of each lineage."""
        return self.config / "live"

    @property
    def archive(self) -> Path:
        """Every version of each lineage."""
        return self.config / "archive"

    @property
    def renewal(self) -> Path:
        """How certbot got each lineage."""
        return self.config / "renewal"

    @property
    def own(self) -> Path:
        """What only this plugin uses: work, logs, a run's sockets."""
        return self.config / ".flatrun"


class Places:
    """Answers the folders of now; they follow the settings of certbot and of nginx."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._lock = threading.Lock()
        self._found: Folders | None = None

    def folders(self) -> Folders:
        """The folders; no I/O."""
        with self._lock:
            if self._found is None:
                self._found = self._look()
            return self._found

    def forget(self) -> None:
        """Look anew at the next question: a setting changed."""
        with self._lock:
            self._found = None

    def _look(self) -> Folders:
        settings = self._ctx.settings(CertbotSettings)
        beside = self._beside_nginx()
        live = Path(settings.certs_path) if settings.certs_path else beside / "certs" / "live"
        return Folders(live.parent, Path(settings.webroot_path) if settings.webroot_path else beside / "html")

    def _beside_nginx(self) -> Path:
        """The folder of nginx, whose settings belong to another plugin and exist with it only."""
        settings = self._ctx.services.find(SETTINGS)
        group = settings.published().get("nginx") if settings is not None else None
        named = group.get("config_path") if isinstance(group, Mapping) else None
        if named:
            return Path(str(named)).parent
        return Path(self._ctx.settings(PanelSettings).deployments_path) / "nginx"


PLACES: Final[ServiceKey[Places]] = ServiceKey("certificates.places", "certificates")
