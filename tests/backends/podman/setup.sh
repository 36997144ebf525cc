#!/usr/bin/env bash
# Installs what the tests of containers run on: podman, a runtime for it, its network tools, and a static busybox to make an image of.
# Does nothing where it is there already; says why where this machine can't have it, and fails then only if TRADEWIND_REQUIRE_BACKENDS=1.
set -euo pipefail

programs=(podman runc busybox nft)
packages=(podman runc netavark aardvark-dns uidmap nftables iptables busybox-static)

missing() {
    for program in "${programs[@]}"; do command -v "$program" >/dev/null || return 0; done
    # Wherever the distribution puts them.
    for helper in netavark aardvark-dns; do
        [ -n "$(find /usr/lib/podman /usr/libexec/podman -name "$helper" 2>/dev/null || true)" ] || return 0
    done
    return 1
}

unable() {
    echo "podman: $1; the tests of containers are left out" >&2
    [ "${TRADEWIND_REQUIRE_BACKENDS:-}" != 1 ] || exit 1
    exit 0
}

missing || exit 0
command -v apt-get >/dev/null || unable "this machine has no apt-get: install podman (4.3 or newer), runc, netavark, aardvark-dns and a static busybox"
[ "$(id -u)" = 0 ] || unable "installing it needs root: apt-get install ${packages[*]}"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}" >"$log" 2>&1; }
install || { apt-get update >>"$log" 2>&1 && install; } || { cat "$log" >&2; unable "its packages can't be installed"; }
