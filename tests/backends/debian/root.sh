#!/usr/bin/env bash
# Prints the path of a packed minimal system, of the same distribution and release as this machine's: what packages are installed in for a
# test, and what systemd-nspawn boots. It is made once, in a minute, and kept in the cache folder. Prints nothing and says why where this machine can't have it; fails then
# only if TRADEWIND_REQUIRE_BACKENDS=1.
set -euo pipefail

unable() {
    echo "debian: $1; the tests of packages are left out" >&2
    [ "${TRADEWIND_REQUIRE_BACKENDS:-}" != 1 ] || exit 1
    exit 0
}

[ "$(id -u)" = 0 ] || unable "a system of its own needs root"
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || unable "this machine has no apt-get and dpkg-deb"
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[ -n "$release" ] || unable "/etc/os-release names no release"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tradewind-backends/debian
mkdir -p "$cache"
root=$cache/$release-$(dpkg --print-architecture)-systemd.tar
exec 9>"$cache/lock"
flock 9
log=$cache/log
if ! command -v debootstrap >/dev/null || ! command -v systemd-nspawn >/dev/null; then
    install() { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends debootstrap systemd-container >"$log" 2>&1 9>&-; }
    install || { apt-get update >>"$log" 2>&1 9>&- && install; } || unable "debootstrap and systemd-container can't be installed (see $log)"
fi
if [ ! -f "$root" ]; then
    # Where this machine's own packages come from.
    mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(SITE)' 'Created-By: Packages' |
        awk -v release="$release" '$1 == release && $2 == "main" { print $3; exit }')
    [ -n "$mirror" ] || unable "no source of packages for $release is set up"
    fresh=$(mktemp -d "$cache/fresh-XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    chmod 755 "$fresh"
    debootstrap --variant=minbase --include=ca-certificates,systemd-sysv "$release" "$fresh" "$mirror" >"$log" 2>&1 9>&- || unable "debootstrap fails (see $log)"
    rm -rf "$fresh"/var/cache/apt/archives/*.deb "$fresh"/var/lib/apt/lists/*
    tar -C "$fresh" --numeric-owner -cf "$root.part" .
    mv "$root.part" "$root"
fi
echo "$root"
