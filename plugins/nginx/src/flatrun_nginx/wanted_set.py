"""The files of one apply: of every site, of all together, and what takes their place when one is refused."""

from collections.abc import Mapping, Sequence

from flatrun_core.ports.proxy import Site
from flatrun_nginx import generation
from flatrun_nginx.live import LiveFile
from flatrun_nginx.refused_certificates import RefusedCertificates
from flatrun_nginx.rendering import NameTable, Scene
from flatrun_nginx.sites import Rendered


class WantedSet:
    """``shared`` are the names of files that no site can be blamed for, ``texts`` all files by name."""

    def __init__(
        self, sites: Sequence[Site], scene: Scene, rendered: Rendered, certificates: RefusedCertificates
    ) -> None:
        self._scene = scene
        self._rendered = rendered
        self._renderer = rendered.renderer
        self._certificates = certificates
        self._served = {site.deployment: certificates.without(site) for site in sites}
        self._files = rendered.all(list(self._served.values()), scene)
        self.broken: Mapping[str, str] = self._files.broken
        self.names: Mapping[str, str] = self._files.names
        shared = self._renderer.shared(scene.frame, scene.fragments, NameTable.of(sites))
        texts = {**shared, **self._files.wanted}
        self.shared = {*shared, generation.FILE}
        self.texts: Mapping[str, str] = {**texts, generation.FILE: self.default(texts)}

    def default(self, texts: Mapping[str, str]) -> str:
        """``default.conf`` beside other files."""
        others = {name: text for name, text in texts.items() if name != generation.FILE}
        digest = generation.digest(others, self._scene.fragments.files)
        return self._renderer.default(self._scene.frame, digest)

    def check(self, name: str) -> str:
        """Why a site's file would not say what it should; empty where it does."""
        if name not in self._files.wanted:
            return ""
        return self._rendered.check(self.names[name], self._scene)

    def trust(self, live: Mapping[str, LiveFile]) -> None:
        """Sites whose file stands as it should have been checked before it was written."""
        for name, text in self._files.wanted.items():
            if name in live and live[name].text == text:
                self._rendered.trust(self.names[name])

    def without(self, name: str, refused: tuple[str, str], served: str | None) -> str | None:
        """A site's file without a ``refused`` certificate (path, reason); see ``RefusedCertificates``."""
        site = self._served.get(self.names.get(name, ""))
        plain = self._certificates.refuse(site, *refused, served) if site is not None else None
        if plain is None:
            return None
        self._served[plain.deployment] = plain
        return self._rendered.one(plain, self._scene).text
