#!/usr/bin/env bash
# Makes sure that the tests have a Kubernetes API server with its controllers, and etcd. Does nothing when they are there. Safe to repeat,
# and to run twice at once.
#
# No package ships an API server, but Debian's source package builds one: about seven minutes of two cores, once. The programs stay in a
# cache folder, one for each version.
set -euo pipefail

upstream=1.20.2
go=/usr/lib/go-1.19/bin
cache="${XDG_CACHE_HOME:-$HOME/.cache}/tradewind-backends/kubernetes"
programs="$cache/$upstream"
building="golang-1.19-go rsync dpkg-dev golang-github-modern-go-reflect2-dev"

# What stands in the way is said. Where back ends are required, it is an error.
leave() {
    echo "setup: kubernetes: $1; the tests that need a cluster are left out" >&2
    [ "${TRADEWIND_REQUIRE_BACKENDS:-}" = 1 ] && exit 1
    exit 0
}

ready() {
    [ -x "$programs/kube-apiserver" ] && [ -x "$programs/kube-controller-manager" ] && command -v etcd >/dev/null && command -v kubectl >/dev/null
}

if [ -n "${TRADEWIND_TEST_KUBECONFIG:-}" ]; then
    echo "setup: kubernetes: the cluster of TRADEWIND_TEST_KUBECONFIG is used"
    exit 0
fi
if ready; then
    echo "setup: kubernetes: $upstream is there"
    exit 0
fi
command -v apt-get >/dev/null || leave "no etcd, kube-apiserver and kube-controller-manager $upstream, and no apt-get to build them with"
as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || leave "packages can't be installed: run $0 as root"
    as_root=sudo
fi

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
ready && exit 0

# Another set-up may hold the package manager for a while.
fetch() {
    local apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600"
    # shellcheck disable=SC2086 # lists of words
    $apt install -y --no-install-recommends $1 9>&- || { $apt update 9>&- && $apt install -y --no-install-recommends $1 9>&-; }
}

needed=
command -v etcd >/dev/null || needed="$needed etcd-server"
command -v kubectl >/dev/null || needed="$needed kubernetes-client"
[ -x "$programs/kube-apiserver" ] && [ -x "$programs/kube-controller-manager" ] || needed="$needed $building"
if [ -n "$needed" ]; then
    echo "setup: kubernetes: apt-get install$needed"
    fetch "$needed" || leave "the packages$needed can't be installed"
fi
ready && exit 0

# The source, from where the machine has its packages from. Lists of our own leave the machine's alone.
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
origin=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT) $(CREATED_BY)' | awk '$2 == "bookworm" && $3 == "main" && $4 == "Packages" { print $1; exit }')
[ -n "$origin" ] || leave "the source of kubernetes $upstream comes with Debian 12, which is not among this machine's package sources"
mkdir -p "$work/lists/partial" "$work/source"
echo "deb-src $origin bookworm main" >"$work/sources.list"
lists=(-o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::Lists=$work/lists" -o APT::Sandbox::User=root)
echo "setup: kubernetes: the source"
apt-get "${lists[@]}" update 9>&- || leave "the list of sources can't be read"
(cd "$work/source" && apt-get "${lists[@]}" source kubernetes 9>&-) || leave "the source can't be had"
root=$(find "$work/source" -mindepth 1 -maxdepth 1 -type d -name 'kubernetes-*')
case "$root" in
    *[-y]"$upstream") ;;
    *) leave "the source is $(basename "$root"), not $upstream" ;;
esac

# Its own copy of reflect2 panics on this Go when it writes maps, as every server-side apply does.
reflect2="$root/vendor/github.com/modern-go/reflect2"
rm -f "$reflect2"/*.go "$reflect2"/*.s
cp /usr/share/gocode/src/github.com/modern-go/reflect2/*.go /usr/share/gocode/src/github.com/modern-go/reflect2/*.s "$reflect2/"
rm -f "$reflect2"/*_test.go

echo "setup: kubernetes: building $upstream, which takes some minutes"
mkdir -p "$root/.go/src/k8s.io" "$work/home"
ln -sfn "$root" "$root/.go/src/k8s.io/kubernetes"
build() {
    (cd "$root/.go/src/k8s.io/kubernetes" && env -u GOROOT PATH="$go:$PATH" HOME="$work/home" GOPATH="$root/.go" GO111MODULE=off CGO_ENABLED=0 \
        KUBE_GIT_VERSION="v$upstream" KUBE_GIT_TREE_STATE=archive KUBE_GIT_COMMIT=archive nice make "$@" 9>&-)
}
if ! { build generated_files && build WHAT="cmd/kube-apiserver cmd/kube-controller-manager"; } >"$work/log" 2>&1; then
    tail -n 40 "$work/log" >&2
    leave "$upstream could not be built"
fi
mkdir -p "$programs"
for program in kube-apiserver kube-controller-manager; do
    built=$(find "$root/_output" -type f -name "$program" -perm -u+x -print -quit)
    [ -n "$built" ] || leave "the build left no $program"
    install -m 0755 "$built" "$programs/.$program"
    mv "$programs/.$program" "$programs/$program"
done
echo "setup: kubernetes: $upstream is there"
