#!/bin/sh
# Print the Python to make the environment with, or say in one sentence what to install.
#
#     find_python.sh [PYTHON]
#
# PYTHON, when given, is taken or refused. Else it is the newest that can make environments: of two of the same version that
# of the system, which is built with optimizations where others often are not. SYSTEM_BIN is the folder of that, for tests.
set -u

# Exit 0 when "$1" is new enough, and with `venv` in "$2" when it can make environments.
can() {
    "$1" -c "import sys; sys.version_info >= (3, 11) or sys.exit(1); ${2:+import ensurepip, venv}" >/dev/null 2>&1
}

version() {
    "$1" -c 'import platform; print(platform.python_version())' 2>/dev/null
}

refuse() {
    echo "$1" >&2
    exit 1
}

remedy="install one (Debian 12 or newer, Ubuntu 24.04: apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python"

if [ -n "${1:-}" ]; then
    can "$1" venv && echo "$1" && exit
    found=$(version "$1")
    can "$1" && refuse "PYTHON=$1 ($found) cannot make environments: install its venv module (Debian, Ubuntu: apt-get install python3-venv)"
    refuse "PYTHON=$1 is ${found:-no Python that runs}: this needs Python 3.11 or newer"
fi

without_venv=""
for name in python3.14 python3.13 python3.12 python3.11 python3; do
    for python in "${SYSTEM_BIN:-/usr/bin}/$name" "$name"; do
        can "$python" venv && echo "$python" && exit
        [ -z "$without_venv" ] && can "$python" && without_venv=$python
    done
done
[ -n "$without_venv" ] && refuse "$without_venv cannot make environments: install its venv module (Debian, Ubuntu: apt-get install python3-venv)"
found=$(version python3)
refuse "this needs Python 3.11 or newer, found ${found:-none}: $remedy"
