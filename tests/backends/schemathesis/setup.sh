#!/usr/bin/env bash
# Installs schemathesis and openapi-spec-validator, which hold the daemon against the description of its API, into an environment of their own
# below the cache folder. Done at once when they are there.
# Where they can't be had this says why, and their tests are left out; with TRADEWIND_REQUIRE_BACKENDS=1 it fails instead.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
home=${XDG_CACHE_HOME:-$HOME/.cache}/tradewind-backends/schemathesis
wanted=$(sha256sum <"$here/requirements.txt")

without() {
    echo "schemathesis: $1: the tests of the API's description are left out" >&2
    [ "${TRADEWIND_REQUIRE_BACKENDS:-}" != 1 ] || exit 1
    exit 0
}

mkdir -p "$home"
exec 9>"$home/lock"
flock 9
if [ "$(cat "$home/installed" 2>/dev/null)" = "$wanted" ]; then exit 0; fi

python=$(command -v python3) || without "there is no python3"
rm -rf "$home/env" "$home/installed"
"$python" -m venv "$home/env" 2>"$home/log" || without "python3 can't make an environment (on Debian: apt-get install python3-venv)"
echo "schemathesis: installing into $home" >&2
"$home/env/bin/pip" install --quiet --disable-pip-version-check --no-input -r "$here/requirements.txt" >"$home/log" 2>&1 ||
    without "it can't be installed (see $home/log)"
echo "$wanted" >"$home/installed"
