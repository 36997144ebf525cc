# Programs out of Python packages, each in an environment of its own. To be sourced by who has set `name`, `home` (a folder of the cache) and
# `left_out` (what is done without it).

# Ends the script, for this reason.
without() {
    echo "$name: $1: $left_out" >&2
    [ "${TRADEWIND_REQUIRE_BACKENDS:-}" != 1 ] || exit 1
    exit 0
}

# The distribution's Python, where there is none that can make an environment and who runs this may install one.
distribution_python() {
    python3 -c 'import ensurepip, venv' 2>/dev/null && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
    echo "$name: installing python3" >&2
    install() { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv >"$home/log" 2>&1 9>&-; }
    install || { apt-get update >>"$home/log" 2>&1 9>&- && install; } || without "python3 can't be installed (see $home/log)"
}

# Installs the packages of a file into "$home/env", with further arguments of pip. Done at once when they are there.
environment() {
    local requirements=$1 wanted python
    shift
    wanted=$(sha256sum <"$requirements")
    mkdir -p "$home"
    exec 9>"$home/lock"
    flock 9
    if [ "$(cat "$home/installed" 2>/dev/null)" != "$wanted" ]; then
        distribution_python
        python=$(command -v python3) || without "there is no python3"
        rm -rf "$home/env" "$home/installed"
        "$python" -m venv "$home/env" 2>"$home/log" || without "python3 can't make an environment (on Debian: apt-get install python3-venv)"
        echo "$name: installing into $home" >&2
        "$home/env/bin/pip" install --quiet --disable-pip-version-check --no-input "$@" -r "$requirements" >"$home/log" 2>&1 ||
            without "it can't be installed (see $home/log)"
        echo "$wanted" >"$home/installed"
    fi
    exec 9>&-
}
