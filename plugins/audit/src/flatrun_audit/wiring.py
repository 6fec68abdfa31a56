"""How the parts of this plugin find one another."""

from flatrun_audit.chain import CHAIN, Chain
from flatrun_audit.cleanup import CLEANER, Cleaner
from flatrun_audit.events import AUDIT_LOG, AuditLog
from flatrun_audit.exporting import EXPORTER, Exporter
from flatrun_audit.interrupted import WATCH, Interrupted, Watch
from flatrun_audit.recorder import RECORDER, AuditRecorder
from flatrun_audit.settings import AuditSettings
from flatrun_core import PluginContext
from flatrun_core.ports.auth import RECORD
from flatrun_core.ports.secrets import SIGNING
from flatrun_core.ports.storage import DATABASE


class Wiring:
    """Builds each service of one panel."""

    def __init__(self, ctx: PluginContext) -> None:
        self._ctx = ctx
        self._get = ctx.services.get

    def provide(self) -> None:
        """Offer them all; each is built once."""
        provide = self._ctx.services.provide
        provide(CHAIN, lambda: Chain(self._get(SIGNING)))
        provide(RECORDER, self._recorder)
        provide(WATCH, self._watch)
        provide(AUDIT_LOG, lambda: AuditLog(self._get(DATABASE), self._settings))
        provide(EXPORTER, lambda: Exporter(self._get(DATABASE), self._get(AUDIT_LOG)))
        provide(CLEANER, self._cleaner)

    def _settings(self) -> AuditSettings:
        return self._ctx.settings(AuditSettings)

    def _recorder(self) -> AuditRecorder:
        return AuditRecorder(self._get(DATABASE), self._get(CHAIN), self._settings)

    def _watch(self) -> Watch:
        recorder = self._get(RECORDER)
        return Watch(recorder, Interrupted(self._get(DATABASE), self._get(CHAIN), recorder))

    def _cleaner(self) -> Cleaner:
        record = self._get(RECORD).write
        return Cleaner(self._get(DATABASE), self._get(SIGNING), self._get(AUDIT_LOG), self._settings, record)
