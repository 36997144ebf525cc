# Sourced by dist.sh: everything below one folder, for Linux with the C library of this machine or a newer one.

tarball() {
    local name=tradewind-$version-$(uname -m)-linux
    local tree=$work/$name
    cp -a "$stage" "$tree"
    install -D -m 644 "$here/config.toml" "$tree/etc/config.toml"
    install -D -m 644 "$here/cheapest.toml" "$tree/etc/plugins/cheapest.toml"
    install -m 644 "$top"/{LICENSE,README.md,CHANGELOG.md} "$tree"
    pack --owner=0 --group=0 -C "$work" -c "$name" | gzip -9n >"$out/$name.tar.gz"
    echo "$name.tar.gz"
}
