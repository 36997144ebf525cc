# Sourced by dist.sh: a package for Debian and what is made of it, with a service and a user.

deb() {
    if ! command -v dpkg-deb >/dev/null; then
        echo "dpkg-deb is missing: no Debian package is made" >&2
        return
    fi
    local root=$work/deb arch
    arch=$(dpkg --print-architecture)
    mkdir -p "$root/DEBIAN"
    cp -a "$stage" "$root/usr"
    local doc=$root/usr/share/doc/tradewind
    install -D -m 644 "$here/config.toml" "$root/etc/tradewind/config.toml"
    install -D -m 644 "$here/cheapest.toml" "$root/etc/tradewind/plugins/cheapest.toml"
    install -d -m 755 "$root/etc/tradewind/secrets"
    install -m 644 "$here/debian/copyright" "$top/README.md" "$top/CHANGELOG.md" "$doc"
    install -D -m 644 "$here/debian/lintian-overrides" "$root/usr/share/lintian/overrides/tradewind"
    printf 'tradewind (%s) stable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n -- %s  %s\n' "$version" \
        "$(sed -n 's/^Maintainer: //p' "$here/debian/control")" "$(date -R -d "@$SOURCE_DATE_EPOCH")" >"$doc/changelog"
    gzip -9n "$doc/changelog" "$doc/CHANGELOG.md" "$root"/usr/share/man/man1/*.1

    # What the binary asks of the C library.
    local libc
    libc=$(grep -aoE 'GLIBC_[0-9]+(\.[0-9]+)+' "$stage/bin/tradewind" | sed 's/GLIBC_//' | sort -Vu | tail -n 1)
    sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@LIBC@/$libc/" \
        -e "s/@SIZE@/$(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)/" "$here/debian/control" >"$root/DEBIAN/control"
    install -m 644 "$here/debian/conffiles" "$root/DEBIAN/conffiles"
    install -m 755 "$here"/debian/{postinst,prerm,postrm} "$root/DEBIAN"
    (cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | grep -v '^etc/' | sort | xargs md5sum) >"$root/DEBIAN/md5sums"
    find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

    local name=tradewind_${version}_$arch.deb
    dpkg-deb --root-owner-group ${DIST_COMPRESSION:+-Z"$DIST_COMPRESSION"} --build "$root" "$out/$name" >&2
    echo "$name"
}
