"""A new set beside the live one: links to what stays the same, new files for the rest."""

import secrets
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from flatrun_nginx.files import PRIVATE, PUBLIC, Files
from flatrun_nginx.journal import STAGING, Move
from flatrun_nginx.layout import CONF, LUA, STAGED_MAIN, STAGED_SET, Layout


class Staging:
    """One folder for one test. ``seen`` is the set's folder as the container sees it."""

    def __init__(self, layout: Layout, files: Files) -> None:
        name = f"{STAGING}{secrets.token_hex(6)}"
        self._layout = layout
        self._files = files
        self.folder = layout.conf / name
        self.seen = f"{CONF}/{name}/{STAGED_SET}"
        self.main = f"{CONF}/{name}/{STAGED_MAIN}"
        self._lua = f"{CONF}/{name}/lua"
        self._set = self.folder / STAGED_SET
        self._new = self.folder / "new"
        self._own_lua = False
        self.texts: dict[str, str] = {}

    def build(self, lua: Mapping[str, str], private: Iterable[str]) -> None:
        """Make the folders, and the files of fragments where they are others than the live ones."""
        for folder in (self.folder, self._set, self._new):
            self._files.make_folder(folder)
        self._own_lua = lua != read_lua(self._layout.lua)
        if self._own_lua:
            self._files.make_folder(self.folder / "lua")
            for name, text in lua.items():
                self._files.write(self.folder / "lua" / name, self._shifted(text))
                mode = PRIVATE if name in private else PUBLIC
                self._files.write(self._new / f"lua-{name}", text, mode)

    def keep(self, name: str, source: Path, text: str) -> None:
        """Take over a file as it is."""
        self.texts[name] = text
        if self._own_lua and LUA in text:
            self._files.write(self._set / name, self._shifted(text))
        else:
            self._files.link(source, self._set / name)

    def add(self, name: str, text: str) -> Path:
        """Write a new file, which is to be swapped in; where it stands for being looked at."""
        self.texts[name] = text
        self._files.write(self._new / name, text)
        if self._own_lua and LUA in text:
            self._files.write(self._set / name, self._shifted(text))
        else:
            self._files.link(self._new / name, self._set / name)
        return self._new / name

    def adopt(self, name: str, source: Path, text: str) -> None:
        """Take a file back into the set, byte for byte; it is to be swapped in."""
        self.texts[name] = text
        self._files.link(source, self._new / name)
        self._files.link(source, self._set / name)

    def preserve(self, name: str, source: Path) -> str:
        """Have a second name of a file that is to be swapped in elsewhere; its source for a move."""
        self._files.link(source, self._new / name)
        return f"new/{name}"

    def note(self, name: str, text: str) -> str:
        """Write a file that is to be swapped in and no part of the set; its source for a move."""
        self._files.write(self._new / name, text)
        return f"new/{name}"

    def write_main(self, text: str) -> None:
        """Write the main file of the test."""
        self._files.write(self.folder / STAGED_MAIN, text)

    def leave_out(self, name: str) -> None:
        """Take a file out of the set."""
        self.texts.pop(name, None)
        self._files.remove(self._set / name)

    def only(self, names: Collection[str]) -> None:
        """Have just these files in the set; the others wait beside it."""
        aside = self.folder / "aside"
        self._files.make_folder(aside)
        for name in self.texts:
            here, there = self._set / name, aside / name
            if name in names and there.exists():
                self._files.replace(there, here)
            elif name not in names and here.exists():
                self._files.replace(here, there)

    def lua_moves(self, lua: Mapping[str, str]) -> list[Move]:
        """What brings the files of fragments to their places."""
        if not self._own_lua:
            return []
        gone = read_lua(self._layout.lua).keys() - lua.keys()
        return [
            *(Move(f"new/lua-{name}", f"lua/{name}") for name in sorted(lua)),
            *(Move("", f"lua/{name}") for name in sorted(gone)),
        ]

    def drop(self) -> None:
        """Remove it all."""
        self._files.drop(self.folder)

    def _shifted(self, text: str) -> str:
        return text.replace(f"{LUA}/", f"{self._lua}/")


def read_lua(folder: Path) -> Mapping[str, str]:
    """The live files of fragments, by name."""
    if not folder.is_dir():
        return {}
    return {
        path.name: path.read_text("utf-8", "replace")
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith(".")
    }
