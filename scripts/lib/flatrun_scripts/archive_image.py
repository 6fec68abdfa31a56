"""Container images made of the distribution's own packages, without a registry.

Packages are downloaded with everything they depend on and put together in one layer. Nothing is
installed and no maintainer script runs, so what those would have done is part of the recipe: users,
links and the like. On two cores this takes about three seconds where bootstrapping a system and
building on it takes half a minute, and the image has a third of the size.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from flatrun_scripts import images, packages
from flatrun_scripts.shell import ScriptError, must, run, run_bytes

# What programs never read. Licences stay, they are small and have to.
LEFT_OUT = ("usr/share/man/", "usr/share/locale/", "usr/share/info/", "usr/share/lintian/")
LEFT_OUT_SUFFIXES = (".gz", "README", "NEWS", "TODO")
DOCUMENTS = "usr/share/doc/"
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
FOLDERS = ("dev", "proc", "root", "run", "sys", "tmp", "var/log", "usr/bin")
AUTHORITIES = "usr/share/ca-certificates/"
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
ACCOUNTS = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n"
    b"www-data:x:33:33:www-data:/var/www:/bin/false\n"
    b"nginx:x:101:101:nginx:/nonexistent:/bin/false\n"
    b"nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": b"root:x:0:\nwww-data:x:33:\nnginx:x:101:\nnogroup:x:65534:\nnobody:x:65534:\n",
    "etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files dns\n",
}


@dataclass(frozen=True)
class Image:
    """An image of packages: their names, what is added to them, and the image's settings.

    Args:
        name: the image's name, without a tag.
        packages: names of packages; one that the release does not have is left out when optional.
        optional: the names of those that are.
        files: paths without the leading slash, and their contents.
        links: paths without the leading slash, and what they point to.
        changes: settings as of `docker import -c`.
    """

    name: str
    packages: Sequence[str]
    optional: frozenset[str] = frozenset()
    files: Mapping[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    changes: Sequence[str] = ()


def possible() -> bool:
    """Tell whether this machine has an archive of packages to make images from."""
    return shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None


def build(image: Image, cache: Path) -> str:
    """Make an image unless it is there, and return its full name with the tag.

    The tag comes from the recipe and from the versions that the archive has now, so an update of a
    package makes another image.
    """
    if not possible():
        raise ScriptError(
            f"The image {image.name} cannot be made on this machine.",
            "It is made of packages of Debian or Ubuntu, and there is no apt-get.",
            "Name an image of your own in the settings.",
        )
    busybox = images.static_busybox(cache)
    with tempfile.TemporaryDirectory(prefix="flatrun-image-") as folder:
        source = _Source(Path(folder), image)
        digest = _digest(image, busybox, source.wanted())
        reference = f"{image.name}:{digest}"
        if not images.present(reference):
            _import(reference, _archive(image, busybox, source.fetch()), image.changes)
    return reference


def _import(reference: str, archive: bytes, changes: Sequence[str]) -> None:
    options = [word for change in changes for word in ("-c", change)]
    must(
        ["docker", "import", *options, "-", reference],
        what=f"The image {reference} could not be made.",
        todo="Look at 'docker info' and at the free space of the disk.",
        data=archive,
    )


class _Source:
    """The packages of an image, as if nothing were installed on this machine."""

    def __init__(self, folder: Path, image: Image) -> None:
        self._folder, self._image = folder, image
        self._status = folder / "status"
        self._status.touch()
        (folder / "archives/partial").mkdir(parents=True)

    def wanted(self) -> str:
        """Return the packages that apt would fetch, with their versions and hashes."""
        result = run(self._command("--print-uris", "-qq"), env=packages.QUIET)
        if result.code != 0:
            # The lists of a fresh machine are empty.
            packages.refresh()
            result = must(
                self._command("--print-uris", "-qq"),
                what=f"The packages of the image {self._image.name} were not found.",
                todo="Check the machine's /etc/apt, then run the script again.",
                env=packages.QUIET,
            )
        # Without the address: another mirror has the same packages.
        return "\n".join(sorted(line.split(" ", 1)[-1] for line in result.out.splitlines()))

    def fetch(self) -> list[Path]:
        """Download the packages and return their files."""
        command = self._command("--download-only", "-qq")
        if run(command, env=packages.QUIET).code != 0:
            # Lists of last week name files that the archive has replaced since.
            packages.refresh()
            must(
                command,
                what=f"The packages of the image {self._image.name} could not be downloaded.",
                todo="Check the machine's network and /etc/apt, then run the script again.",
                env=packages.QUIET,
            )
        return sorted((self._folder / "archives").glob("*.deb"))

    def _command(self, *options: str) -> list[str]:
        own = {
            "Dir::State::status": self._status,
            "Dir::Cache::archives": self._folder / "archives",
            "Debug::NoLocking": "1",
            "APT::Install-Recommends": "0",
            "APT::Sandbox::User": "root",
        }
        settings = [word for key, value in own.items() for word in ("-o", f"{key}={value}")]
        return ["apt-get", *settings, "-y", *options, "install", *self._names()]

    def _names(self) -> list[str]:
        image = self._image
        return [name for name in image.packages if name not in image.optional or packages.candidate(name)]


def _digest(image: Image, busybox: Path, wanted: str) -> str:
    parts = [Path(__file__).read_bytes(), busybox.read_bytes(), wanted.encode()]
    parts += [f"{name}\n".encode() + data for name, data in sorted(image.files.items())]
    parts += [f"{name} {target}".encode() for name, target in sorted(image.links.items())]
    parts += [change.encode() for change in image.changes]
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:12]


def _archive(image: Image, busybox: Path, debs: Sequence[Path]) -> bytes:
    """Return the root file system as a tar."""
    root = _Root()
    with ThreadPoolExecutor(max_workers=4) as pool:
        for data in pool.map(_content, debs):
            root.add_package(data)
    for name, content in {**ACCOUNTS, **image.files}.items():
        root.put(name, content)
    for name, target in image.links.items():
        root.link(name, target)
    root.add_busybox(busybox)
    root.add_authorities()
    return root.close()


def _content(deb: Path) -> bytes:
    packed = run_bytes(["dpkg-deb", "--fsys-tarfile", deb])
    if not packed:
        raise ScriptError(f"The package {deb.name} could not be unpacked.")
    return packed


class _Root:
    """A root file system in the making; what came first stays."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._buffer, mode="w", format=tarfile.GNU_FORMAT)
        self._names: set[str] = set()
        self._authorities: list[bytes] = []
        for name in FOLDERS:
            self._folder(name, 0o1777 if name == "tmp" else 0o755)
        for name in MERGED:
            self._folder(f"usr/{name}", 0o755)
            self.link(name, f"usr/{name}")

    def add_package(self, data: bytes) -> None:
        """Add the files of a package; its data is a tar."""
        with tarfile.open(fileobj=io.BytesIO(data)) as package:
            for entry in package:
                name = _place(entry.name)
                if not name or name in self._names or _left_out(name):
                    continue
                content = package.extractfile(entry) if entry.isreg() else None
                entry.name = name
                if entry.islnk():
                    entry.linkname = _place(entry.linkname)
                self._names.add(name)
                self._tar.addfile(entry, content)
                if content and name.startswith(AUTHORITIES):
                    content.seek(0)
                    self._authorities.append(content.read().strip() + b"\n")

    def put(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file, unless there is one."""
        if self._new(name):
            entry = _entry(name, tarfile.REGTYPE, mode)
            entry.size = len(content)
            self._tar.addfile(entry, io.BytesIO(content))

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link, unless there is something of that name."""
        if self._new(name):
            entry = _entry(name, tarfile.SYMTYPE, 0o777)
            entry.linkname = target
            self._tar.addfile(entry)

    def add_busybox(self, busybox: Path) -> None:
        """Add a shell and small tools for the person who looks into a container."""
        self.put("usr/bin/busybox", busybox.read_bytes(), 0o755)
        for applet in _applets(busybox):
            if f"usr/sbin/{applet}" not in self._names:
                self.link(f"usr/bin/{applet}", "busybox")

    def add_authorities(self) -> None:
        """Add the bundle of authorities that the package's script would have written."""
        if self._authorities:
            self.put(BUNDLE, b"".join(self._authorities))

    def close(self) -> bytes:
        """Return the finished tar."""
        self._tar.close()
        return self._buffer.getvalue()

    def _folder(self, name: str, mode: int) -> None:
        if self._new(name):
            self._tar.addfile(_entry(name, tarfile.DIRTYPE, mode))

    def _new(self, name: str) -> bool:
        fresh = name not in self._names
        self._names.add(name)
        return fresh


def _place(name: str) -> str:
    """Return where a path of a package belongs; older releases have files in /lib beside /usr/lib."""
    clean = name.removeprefix(".").strip("/")
    return f"usr/{clean}" if clean.split("/", 1)[0] in MERGED else clean


def _left_out(name: str) -> bool:
    return name.startswith(LEFT_OUT) or (name.startswith(DOCUMENTS) and name.endswith(LEFT_OUT_SUFFIXES))


def _applets(busybox: Path) -> Iterator[str]:
    listed = must([busybox, "--list"], what=f"{busybox} does not run on this machine.").out.split()
    return iter(sorted(set(listed) - {"busybox"}))


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry
