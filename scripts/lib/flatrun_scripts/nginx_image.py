"""The image of the proxy: nginx with Lua, of the distribution's own packages."""

from __future__ import annotations

from pathlib import Path

from flatrun_scripts import archive_image

NAME = "flatrun/nginx"
MODULES = ("ndk_http_module", "ngx_http_lua_module")


def build(cache: Path, name: str = NAME) -> str:
    """Make the image unless it is there, and return its full name with the tag."""
    return archive_image.build(image(name), cache)


def image(name: str = NAME) -> archive_image.Image:
    """Describe the image: `nginx -g 'daemon off;'`, with its log on the container's output.

    Any settings file may load the Lua module by `include /etc/nginx/modules-enabled/*.conf;`, as in
    the distribution itself.
    """
    return archive_image.Image(
        name,
        packages=(
            "nginx",
            "libnginx-mod-http-lua",
            "lua-cjson",
            "lua-resty-core",
            "lua-resty-lrucache",
            "ca-certificates",
        ),
        # Releases whose Lua module is older have no use for them.
        optional=frozenset({"lua-resty-core", "lua-resty-lrucache"}),
        files={
            f"etc/nginx/modules-enabled/{number}-{name}.conf": f"load_module modules/{name}.so;\n".encode()
            for number, name in enumerate(MODULES, 10)
        },
        links={
            "var/log/nginx/access.log": "/dev/stdout",
            "var/log/nginx/error.log": "/dev/stderr",
        },
        changes=(
            "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            'CMD ["nginx","-g","daemon off;"]',
            "EXPOSE 80",
            "EXPOSE 443",
        ),
    )
