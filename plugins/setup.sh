#!/bin/sh
# Makes sure that this machine can compile plugins to WebAssembly. Does nothing when it can. Safe to repeat.
#
# First choice: the standard library for wasm32-unknown-unknown from rustup. Where that can't be had, Debian's compiler with its library
# source, installed beside rustup's: the build then makes the standard library itself, once, in about a minute.
set -eu

target=wasm32-unknown-unknown
packages="rustc-web rust-web-src rust-web-llvm lld-22"

has_library() {
    ls "$("${RUSTC:-rustc}" --print sysroot 2>/dev/null)/lib/rustlib/$target/lib/"libstd-*.rlib >/dev/null 2>&1
}

has_source() {
    for compiler in "${RUSTC:-rustc}" /usr/bin/rustc; do
        root=$("$compiler" --print sysroot 2>/dev/null) || continue
        [ -f "$root/lib/rustlib/src/rust/library/std/Cargo.toml" ] && return 0
    done
    return 1
}

if ! command -v cargo >/dev/null 2>&1; then
    echo "setup: cargo is missing: install Rust 1.95 or newer from https://rustup.rs first" >&2
    exit 1
fi
if has_library; then
    echo "setup: the library for $target is there"
    exit 0
fi
if has_source; then
    echo "setup: a compiler with its library source is there: plugins build their own standard library"
    exit 0
fi

if command -v rustup >/dev/null 2>&1; then
    echo "setup: rustup target add $target"
    if rustup target add "$target" && has_library; then
        exit 0
    fi
    echo "setup: rustup could not install it; trying the distribution's packages"
fi

if ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: no rustup that can add $target, and no apt-get: install that target's library for your compiler, or its source (rust-src)" >&2
    exit 1
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "setup: run this as root: apt-get install -y --no-install-recommends $packages" >&2
        exit 1
    fi
    as_root=sudo
fi
echo "setup: apt-get install $packages"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of words
if ! $as_root apt-get install -y --no-install-recommends $packages; then
    $as_root apt-get update
    $as_root apt-get install -y --no-install-recommends $packages
fi
if has_source; then
    echo "setup: done"
else
    echo "setup: the packages are installed, but no compiler with its library source was found" >&2
    exit 1
fi
