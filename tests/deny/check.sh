#!/usr/bin/env bash
# Checks licences, crates and their sources against .deny.toml. cargo-deny on the path is used; else it is installed below the cache folder.
# Where it can't be had this says why and passes; with TRADEWIND_REQUIRE_BACKENDS=1 it fails instead.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
name=cargo-deny
left_out="dependencies are not checked"
home=${XDG_CACHE_HOME:-$HOME/.cache}/tradewind-backends/deny
. "$top/tests/backends/python.sh"

deny=$(command -v cargo-deny || true)
if [ -z "$deny" ]; then
    environment "$here/requirements.txt" --only-binary :all: --require-hashes
    deny=$home/env/bin/cargo-deny
fi

# Advisories want a database from elsewhere: `cargo deny check advisories` where that can be reached.
for workspace in "$top" "$top/plugins" "$top/tests/guests"; do
    "$deny" --locked --manifest-path "$workspace/Cargo.toml" --config "$top/.deny.toml" \
        check --allow unused-wrapper --allow unmatched-skip --hide-inclusion-graph licenses bans sources
done
