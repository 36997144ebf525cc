#!/usr/bin/env bash
# Makes sure that the tests have dockerd and a registry to pull from. Where the machine has none, their packages are unpacked into a cache folder
# rather than installed: an installed one would start a service of the machine's own. Does nothing where they are there already.
set -euo pipefail

cache="${XDG_CACHE_HOME:-$HOME/.cache}/tradewind-backends/docker"
packages=(docker.io containerd docker-registry)
export PATH="$PATH:/usr/sbin:$cache/usr/sbin:$cache/usr/bin"

unable() {
    echo "setup: docker: $1; the tests that need dockerd are left out" >&2
    [ "${TRADEWIND_REQUIRE_BACKENDS:-}" != 1 ] || exit 1
    exit 0
}

# Programs that are there and start: what was unpacked still needs its libraries, which podman's packages bring.
ready() {
    command -v docker >/dev/null && dockerd --version && containerd --version && docker-registry --version
}

# Its runtime, its libraries and what the image is made of come with those.
bash "$(dirname "${BASH_SOURCE[0]}")/../podman/setup.sh"
if ready >/dev/null 2>&1; then exit 0; fi
command -v apt-get >/dev/null || unable "this machine has no apt-get: install dockerd (20.10 or newer), docker and docker-registry"

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
new=$(mktemp -d "$cache/new.XXXXXX")
trap 'rm -rf "$new"' EXIT
cd "$new"
download() { apt-get download "${packages[@]}" >log 2>&1 9>&-; }
download || { apt-get update >>log 2>&1 9>&- && download; } || { cat log >&2; unable "its packages can't be fetched"; }
for package in *.deb; do dpkg -x "$package" .; done
cp -a usr "$cache/"
ready >log 2>&1 || { cat log >&2; unable "its programs do not start"; }
