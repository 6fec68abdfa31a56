"""Make the images of the end-to-end tests; `python tests/e2e/images/build.py` prints their names.

`scripts/test` runs this once before the tests. The fixtures run it again, which costs a look at
the package lists and one `docker image inspect` for each image that is already there.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
CACHE = REPOSITORY / ".cache"

sys.path.insert(0, str(REPOSITORY / "scripts/lib"))

from flatrun_scripts import archive_image, images, nginx_image, shell  # noqa: E402  (found by that path)

# The page that `httpd -h /www` of the image serves without any further file.
BUSYBOX = images.Image(
    "flatrun-test/busybox",
    files={"www/index.html": b"flatrun test page\n"},
    changes=('CMD ["sh"]',),
)
# WebSocket, streams, uploads and a look at what arrived, on port 8000.
APPLICATION = archive_image.Image(
    "flatrun-test/application",
    packages=("python3", "python3-aiohttp"),
    files={"app/application.py": (HERE / "application.py").read_bytes()},
    changes=(
        "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        'CMD ["python3","-u","/app/application.py"]',
        "EXPOSE 8000",
    ),
)
SMALL = {"busybox": BUSYBOX}
OF_PACKAGES = {"nginx": nginx_image.image("flatrun-test/nginx"), "application": APPLICATION}


def build(name: str) -> str:
    """Make one image and return its name with the tag."""
    if name in SMALL:
        return images.build(SMALL[name], CACHE)
    return archive_image.build(OF_PACKAGES[name], CACHE)


def main(_: list[str]) -> int:
    """Make every image and print a table."""
    images.static_busybox(CACHE)  # once, before two look for it
    names = [*SMALL, *OF_PACKAGES]
    with ThreadPoolExecutor(max_workers=2) as pool:
        for name, reference in zip(names, pool.map(build, names), strict=True):
            shell.say(f"{name}\t{reference}")
    return 0


if __name__ == "__main__":
    sys.exit(shell.program(main))
