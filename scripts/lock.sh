#!/bin/sh
# Writes the lock files: exact versions with hashes, for every supported Python and platform.
# `scripts/lock.sh` keeps what is locked where it still fits; `scripts/lock.sh --upgrade` takes the newest.
set -eu
cd "$(dirname "$0")/.."
uv="$PWD/.venv/bin/uv"
[ -x "$uv" ] || uv=uv

lock() { # lock OUTPUT ARGUMENTS...
    output=$1
    shift
    # shellcheck disable=SC2086
    "$uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
        --custom-compile-command scripts/lock.sh ${upgrade:-} "$@" -o "requirements/$output"
}
upgrade=${1:-}
lock uv.txt requirements/uv.in
lock node.txt requirements/node.in
lock server.txt pyproject.toml requirements/build.in --extra server --extra agent
lock dev.txt pyproject.toml requirements/build.in --extra server --extra agent --extra dev -c requirements/server.txt
lock focus.txt requirements/focus.in
