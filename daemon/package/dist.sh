#!/usr/bin/env bash
# Packages a build: `dist.sh OUT [tarball] [deb] [image]` makes these packages, else all, in the folder OUT, and the list of their checksums.
#
# TRADEWIND_BIN and TRADEWIND_PLUGINS say where the binary and the components are, TRADEWIND_VERSION which version the packages bear if not
# the binary's own. The same input makes the same bytes: times are those of SOURCE_DATE_EPOCH, else of the commit.
set -euo pipefail
shopt -s inherit_errexit
umask 022
export LC_ALL=C TZ=UTC

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
out=$(realpath -m "${1:?where the packages go}")
bin=${TRADEWIND_BIN:?the binary} components=${TRADEWIND_PLUGINS:?the folder of components}
shift
kinds=("$@")
[ $# -gt 0 ] || kinds=(tarball deb image)
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git -C "$top" log -1 --format=%ct 2>/dev/null || echo 0)
fi
export SOURCE_DATE_EPOCH
# Nothing of the user's own reaches the packages.
unset TRADEWIND_CONFIG TRADEWIND_DATA TRADEWIND_PLUGINS
version=${TRADEWIND_VERSION:-$("$bin" --version | sed 's/^tradewind //')}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

# What all of them hold, below a prefix: bin, lib, share.
stage=$work/stage
put() { install -D -m "$1" "$2" "$stage/$3"; }
put 755 "$bin" bin/tradewind
# Debug sections are most of its size; names of functions stay.
if command -v strip >/dev/null; then strip --strip-debug "$stage/bin/tradewind"; fi
for folder in "$top"/plugins/*/src; do
    plugin=$(basename "$(dirname "$folder")")
    put 644 "$components/$plugin.wasm" "lib/tradewind/plugins/$plugin.wasm"
done
"$bin" manual "$stage/share/man/man1"
completion() {
    mkdir -p "$(dirname "$stage/share/$2")"
    "$bin" completions "$1" >"$stage/share/$2"
}
completion bash bash-completion/completions/tradewind
completion zsh zsh/vendor-completions/_tradewind
completion fish fish/vendor_completions.d/tradewind.fish
put 644 "$here/tradewind.service" lib/systemd/system/tradewind.service
for example in "$here"/examples/*.toml; do put 644 "$example" "share/doc/tradewind/examples/$(basename "$example")"; done

# A tar file that says nothing of when, where and by whom it was made.
pack() { tar --sort=name --format=ustar --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" "$@"; }

made=()
for kind in "${kinds[@]}"; do
    . "$here/$kind.sh"
    name=$("$kind")
    [ -z "$name" ] || made+=("$name")
done
cd "$out"
sha256sum "${made[@]}" | tee SHA256SUMS
