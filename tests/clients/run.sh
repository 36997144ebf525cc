#!/usr/bin/env bash
# Generates a client out of a description of the API (openapi.json), builds the program that lies here on it, and runs that:
#
#     run.sh python|typescript|go|rust DESCRIPTION [build]
#
# With `build` it is not run. What is generated and built stays in the cache folder, and is made anew when the description or the program has
# changed. The program is told of the daemon by TRADEWIND_ENDPOINT and TRADEWIND_TOKEN. tests/backends/clients/setup.sh brings what it takes.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
language=$1 description=$2 only=${3:-}
home=${XDG_CACHE_HOME:-$HOME/.cache}/tradewind-backends/clients
work=$home/$language
mkdir -p "$work"

generate() {
    "$home/env/bin/openapi-generator-cli" generate -i "$description" "$@" --global-property=apiTests=false,modelTests=false,apiDocs=false,modelDocs=false >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        echo "clients: $language: no client can be generated" >&2
        exit 1
    }
}

client() {
    rm -rf "$work/generated"
    case $language in
        python) generate -g python -o "$work/generated" --additional-properties=packageName=tradewind ;;
        typescript) generate -g typescript-fetch -o "$work/generated" ;;
        go)
            generate -g go -o "$work/generated" --git-host tradewind.dev --git-user-id client --git-repo-id go \
                --additional-properties=packageName=tradewind,enumClassPrefix=true,useOneOfDiscriminatorLookup=true
            ;;
        rust) generate -g rust -o "$work/generated" --additional-properties=packageName=tradewind-client ;;
        *)
            echo "clients: there is no program in \"$language\": python, typescript, go or rust" >&2
            exit 1
            ;;
    esac
}

# Go 1.19, which Debian 12 has, knows no `go 1.23`; what is generated needs nothing newer, and nothing beside the standard library.
go() { PATH=/usr/lib/go-1.19/bin:$PATH GOFLAGS=-mod=mod GOPROXY=off GOCACHE=$home/go-build command go "$@"; }

build() {
    case $language in
        python) ;;
        typescript)
            ln -sfn "$home/node/node_modules" "$work/node_modules"
            (cd "$work" && node_modules/.bin/tsc -p .)
            ;;
        go)
            (cd "$work/generated" && go mod edit -go=1.19 -module=tradewind.dev/client)
            printf 'module tradewind.dev/program\n\ngo 1.19\n\nrequire tradewind.dev/client v0.0.0\n\nreplace tradewind.dev/client => ./generated\n' >"$work/go.mod"
            (cd "$work" && go build -o built .)
            ;;
        rust) (cd "$work" && CARGO_TARGET_DIR=$home/rust-target CARGO_BUILD_TARGET_DIR= CARGO_INCREMENTAL=0 RUSTFLAGS= cargo build --quiet --locked) ;;
    esac
}

# What has been made, by what it was made of.
sum() { cat "$@" | sha256sum; }
exec 9>"$home/$language.lock"
flock 9
described=$(sum "$description" "$0" "$home/installed")
if [ "$(cat "$work/described" 2>/dev/null)" != "$described" ]; then
    rm -f "$work/described" "$work/done"
    client
    echo "$described" >"$work/described"
fi
wanted=$(echo "$described" | cat - $(find "$here/$language" -type f | sort) | sha256sum)
if [ "$(cat "$work/done" 2>/dev/null)" != "$wanted" ]; then
    rm -f "$work/done"
    cp -r "$here/$language/." "$work/"
    build >&2
    echo "$wanted" >"$work/done"
fi
exec 9>&-
[ "$only" != build ] || exit 0

case $language in
    python) PYTHONPATH=$work/generated PYTHONDONTWRITEBYTECODE=1 exec "$home/env/bin/python" "$work/client.py" ;;
    typescript) exec node "$work/built/client.js" ;;
    go) exec "$work/built" ;;
    rust) exec "$home/rust-target/debug/client" ;;
esac
