#!/usr/bin/env bash
# Makes sure that clients of the API can be generated, built and run in Python, TypeScript, Go and Rust: the generator (of OpenAPI), a Java runtime
# for it, and each language's tools. Then it makes the clients of the description that the tests keep (tests/golden/openapi.json), so that tests
# only run them. Done at once when all is there. Safe to repeat, and to run twice at once.
# Where something can't be had this says what, and its tests are left out; with TRADEWIND_REQUIRE_BACKENDS=1 it fails instead.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
name=clients
left_out="the tests of generated clients are left out"
home=${XDG_CACHE_HOME:-$HOME/.cache}/tradewind-backends/clients
. "$here/../python.sh"

mkdir -p "$home"
needed=
command -v java >/dev/null || needed="$needed openjdk-17-jre-headless"
command -v node >/dev/null || needed="$needed nodejs"
command -v npm >/dev/null || needed="$needed npm"
[ -x /usr/lib/go-1.19/bin/go ] || needed="$needed golang-1.19-go"
if [ -n "$needed" ]; then
    command -v apt-get >/dev/null || without "there is no apt-get to install$needed with"
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || without "the packages$needed can't be installed: run $0 as root"
        as_root=sudo
    fi
    echo "$name: apt-get install$needed" >&2
    apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600"
    # shellcheck disable=SC2086 # lists of words
    { $apt install -y --no-install-recommends $needed || { $apt update && $apt install -y --no-install-recommends $needed; }; } >"$home/log" 2>&1 ||
        without "the packages$needed can't be installed (see $home/log)"
fi

environment "$here/requirements.txt"

tools=$here/../../clients/typescript
exec 8>"$home/node.lock"
flock 8
if ! cmp -s "$tools/package-lock.json" "$home/node/package-lock.json"; then
    rm -rf "$home/node"
    mkdir -p "$home/node"
    cp "$tools/package.json" "$home/node/"
    cp "$tools/package-lock.json" "$home/node/wanted.json"
    mv "$home/node/wanted.json" "$home/node/package-lock.json"
    (cd "$home/node" && npm ci --no-audit --no-fund) >"$home/log" 2>&1 8>&- || {
        rm -rf "$home/node"
        without "the compiler of TypeScript can't be installed (see $home/log)"
    }
fi
exec 8>&-

for language in python typescript go rust; do
    nice bash "$here/../../clients/run.sh" "$language" "$here/../../golden/openapi.json" build || without "the client in $language can't be built"
done
echo "setup: clients: the four are there" >&2
