"""Files of variables, as the compose that is installed takes them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from flatrun_core.errors import Failed

_BOM = b"\xef\xbb\xbf"


@contextmanager
def env_file_options(files: Sequence[Path], *, several: bool) -> Iterator[list[str]]:
    """The options that name the files; of a variable in more than one the last one counts.

    A compose that takes one file only gets them put together in a temporary one, which is the same:
    within a file too the last assignment counts. Raises ``Failed`` for a file that cannot be read.
    """
    if several or not files[1:]:
        yield [part for file in files for part in ("--env-file", str(file))]
        return
    try:
        parts = [file.read_bytes().removeprefix(_BOM) for file in files]
    except OSError as exc:
        name = Path(exc.filename).name
        raise Failed(f"{name} cannot be read: {exc.strerror}", code="COMPOSE_FAILED") from exc
    with NamedTemporaryFile(prefix="flatrun-", suffix=".env") as together:
        together.write(b"\n".join(parts))
        together.flush()
        yield ["--env-file", together.name]
