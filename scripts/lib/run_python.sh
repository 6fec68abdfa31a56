#!/usr/bin/env bash
# Finds a Python that is new enough and runs run.py beside this file with it. All that
# the scripts need to begin is bash and that Python.
set -euo pipefail

library="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"

# A name on the PATH proves nothing (version managers leave stubs there): it has to run.
new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}

main() {
    local python
    if ! python="$(find_python)"; then
        echo "FAILED: Python 3.11 or newer is needed, and none was found." >&2
        echo "  What to do: install it (on Debian 12 or later and on Ubuntu: apt-get install python3)." >&2
        exit 1
    fi
    exec "$python" "$library/run.py" "$@"
}

main "$@"
