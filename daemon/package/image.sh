# Sourced by dist.sh: an image for container engines, as `podman load` and `docker load` read it. It has the binary, the C library that it is
# linked with, the certificates that this machine trusts, and nothing else: no shell, no package manager.

# The user in the image. Volumes must be its own.
image_user=65532

image() {
    # The daemon does not start without certificates to trust.
    local trusted=/etc/ssl/certs/ca-certificates.crt
    if [ ! -f "$trusted" ]; then
        echo "$trusted is missing (on Debian: apt-get install ca-certificates): no image is made" >&2
        return
    fi
    local root=$work/image folder=$work/archive arch
    case $(uname -m) in
    x86_64) arch=amd64 ;;
    aarch64) arch=arm64 ;;
    *) arch=$(uname -m) ;;
    esac
    mkdir -p "$folder"
    install -D -m 755 "$stage/bin/tradewind" "$root/usr/bin/tradewind"
    install -D -m 644 -t "$root/usr/lib/tradewind/plugins" "$stage"/lib/tradewind/plugins/*.wasm
    local library
    for library in $(ldd "$stage/bin/tradewind" | grep -oE '/[^ ]+'); do install -D -m 755 "$library" "$root$library"; done
    install -D -m 644 "$trusted" "$root$trusted"
    install -D -m 644 "$here/image.toml" "$root/etc/tradewind/config.toml"
    install -D -m 644 "$here/cheapest.toml" "$root/etc/tradewind/plugins/cheapest.toml"
    install -d -m 755 "$root/etc/tradewind/secrets"
    install -d -m 700 "$root/var/lib/tradewind"
    install -d -m 1777 "$root/tmp"
    printf 'root:x:0:0::/:\ntradewind:x:%s:%s::/var/lib/tradewind:\n' "$image_user" "$image_user" >"$root/etc/passwd"
    printf 'root:x:0:\ntradewind:x:%s:\n' "$image_user" >"$root/etc/group"
    printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"

    local own=(./var/lib/tradewind ./etc/tradewind/plugins)
    pack --owner=0 --group=0 -C "$root" "${own[@]/#/--exclude=}" -cf "$folder/layer.tar" .
    pack --owner="$image_user" --group="$image_user" -C "$root" -rf "$folder/layer.tar" "${own[@]}"

    local created layer config tag=${version//[^A-Za-z0-9_.-]/-}
    created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
    layer=$(sha256sum "$folder/layer.tar" | cut -d' ' -f1)
    sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@CREATED@/$created/" -e "s/@LAYER@/$layer/" \
        -e "s/@USER@/$image_user:$image_user/" "$here/image.json" >"$folder/config.json"
    config=$(sha256sum "$folder/config.json" | cut -d' ' -f1)
    mv "$folder/config.json" "$folder/$config.json"
    mv "$folder/layer.tar" "$folder/$layer.tar"
    printf '[{"Config":"%s.json","RepoTags":["localhost/tradewind:%s"],"Layers":["%s.tar"]}]\n' "$config" "$tag" "$layer" >"$folder/manifest.json"

    local name=tradewind-$version-$(uname -m).image.tar
    pack --owner=0 --group=0 -C "$folder" -cf "$out/$name" manifest.json "$config.json" "$layer.tar"
    echo "$name"
}
