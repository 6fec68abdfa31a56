"""Make the images of the end-to-end tests; `python tests/e2e/images/build.py` prints their names.

`scripts/test` runs this once before the tests. The fixtures run it again, which costs one
`docker image inspect` for each image that is already there.
"""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
CACHE = REPOSITORY / ".cache"

sys.path.insert(0, str(REPOSITORY / "scripts/lib"))

from flatrun_scripts import images, shell  # noqa: E402  (the path above is needed for it)

# The page that `httpd -h /www` of the image serves without any further file.
BUSYBOX = images.Image(
    "flatrun-test/busybox",
    files={"www/index.html": b"flatrun test page\n"},
    changes=('CMD ["sh"]',),
)
ALL = {"busybox": BUSYBOX}


def build(name: str) -> str:
    """Make one image and return its name with the tag."""
    return images.build(ALL[name], CACHE)


def main(_: list[str]) -> int:
    """Make every image and print a table."""
    for name in ALL:
        shell.say(f"{name}\t{build(name)}")
    return 0


if __name__ == "__main__":
    sys.exit(shell.program(main))
