#!/usr/bin/env bash
# Checks licences, crates and their sources against .deny.toml. cargo-deny on the path is used; else it is installed below the cache folder.
# Where it can't be had this says why and passes; with TRADEWIND_REQUIRE_BACKENDS=1 it fails instead.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
home=${XDG_CACHE_HOME:-$HOME/.cache}/tradewind-backends/deny
wanted=$(sha256sum <"$here/requirements.txt")

without() {
    echo "cargo-deny: $1: dependencies are not checked" >&2
    [ "${TRADEWIND_REQUIRE_BACKENDS:-}" != 1 ] || exit 1
    exit 0
}

deny=$(command -v cargo-deny || true)
if [ -z "$deny" ]; then
    mkdir -p "$home"
    exec 9>"$home/lock"
    flock 9
    if [ "$(cat "$home/installed" 2>/dev/null)" != "$wanted" ]; then
        python=$(command -v python3) || without "there is no python3"
        rm -rf "$home/env" "$home/installed"
        "$python" -m venv "$home/env" 2>"$home/log" || without "python3 can't make an environment (on Debian: apt-get install python3-venv)"
        "$home/env/bin/pip" install --quiet --disable-pip-version-check --no-input --only-binary :all: --require-hashes \
            -r "$here/requirements.txt" >"$home/log" 2>&1 || without "it can't be installed (see $home/log)"
        echo "$wanted" >"$home/installed"
    fi
    exec 9>&-
    deny=$home/env/bin/cargo-deny
fi

# Advisories want a database from elsewhere: `cargo deny check advisories` where that can be reached.
for workspace in "$top" "$top/plugins" "$top/tests/guests"; do
    "$deny" --locked --manifest-path "$workspace/Cargo.toml" --config "$top/.deny.toml" \
        check --allow unused-wrapper --allow unmatched-skip --hide-inclusion-graph licenses bans sources
done
