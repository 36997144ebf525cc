#!/usr/bin/env bash
# Makes a data folder in which everything that the daemon stores occurs, and packs it: `make.sh OUT.tar.gz`. The daemon and the plugins are
# those of TRADEWIND_BIN and TRADEWIND_PLUGINS. A packed folder of a released version is never made anew: later versions have to open it.
set -euo pipefail
out=$(realpath -m "${1:?where the packed folder goes}")
bin=${TRADEWIND_BIN:?} components=${TRADEWIND_PLUGINS:?}
folder=$(mktemp -d)
daemon=
finish() {
  if [ -n "$daemon" ]; then kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true; fi
  rm -rf "$folder"
}
trap finish EXIT
export TRADEWIND_CONFIG=$folder/state/config.toml
unset TRADEWIND_SERVER TRADEWIND_TOKEN TRADEWIND_DATA TRADEWIND_LISTEN TRADEWIND_SECRETS TRADEWIND_PLUGINS
mkdir -p "$folder/state/data" "$folder/state/plugins"
plugins=$folder/state/plugins
# What goes by age stays, however much later it is opened.
printf '[keep]\ndecision-inputs-age = "36500d"\n[plans]\nexpiry = "36500d"\n' >"$TRADEWIND_CONFIG"
tw() { "$bin" --data "$folder/state/data" "$@"; }
status() { tw -o json get "$1" | sed -n 's/^  "status": "\(.*\)".*/\1/p'; }
until_is() { # name, status
  for _ in $(seq 300); do
    if [ "$(status "$1")" = "$2" ]; then return; fi
    sleep 0.2
  done
  echo "$1 is $(status "$1"), not $2" >&2
  tail -n 20 "$folder/log" >&2
  exit 1
}
manifest() { # name, namespace; the rest of spec on standard input
  { printf 'apiVersion: tradewind.dev/v1\nkind: CloudDeployment\nmetadata: {name: %s, namespace: %s}\nspec:\n' "$1" "$2"; cat; } >"$folder/$1.yaml"
}
put() { # as above
  manifest "$@"
  tw apply -f "$folder/$1.yaml" --detach >/dev/null
}

cp "$components"/{cheapest,simulated,process}.wasm "$plugins"
cat >"$plugins/local.toml" <<'TOML'
component = "process.wasm"
[grants.process]
commands = ["sleep"]
TOML
cat >"$plugins/north.toml" <<'TOML'
component = "simulated.wasm"
[settings.regions.north.sizes.small]
cpu = 4
memory = "16Gi"
price = "0.04"
capacity = 40
TOML
cat >"$plugins/south.toml" <<'TOML'
component = "simulated.wasm"
[settings.regions.south.sizes.small]
cpu = 4
memory = "16Gi"
price = "0.06"
performance = 2.0
capacity = 40
TOML
# Never ready, and never gone.
cat >"$plugins/stuck.toml" <<'TOML'
component = "simulated.wasm"
[settings.regions.bog.sizes.small]
cpu = 4
memory = "16Gi"
price = "0.50"
time-to-ready = "300000h"
[[settings.faults]]
operation = "destroy"
kind = "unavailable"
TOML
serve() {
  rm -f "$folder/state/data/daemon.json"
  "$bin" --data "$folder/state/data" serve --listen 127.0.0.1:0 --plugins "$plugins" >"$folder/log" 2>&1 &
  daemon=$!
  for _ in $(seq 300); do [ -e "$folder/state/data/daemon.json" ] && return; sleep 0.2; done
}
stop() {
  kill "$daemon"
  wait "$daemon" || true
  daemon=
}
serve
put sleeper default <<'Y'
  placement: {providers: [local]}
  services: {nap: {command: [sleep, "600000"]}}
Y
until_is sleeper running

put steady default <<'Y'
  services: {web: {command: [serve], replicas: 2, ports: {http: {protocol: http}}, env: {GREETING: one}, resources: {cpu: 500m, memory: 256Mi}}}
Y
until_is steady running
put steady default <<'Y'
  services: {web: {command: [serve], replicas: 3, ports: {http: {protocol: http}}, env: {GREETING: two}, resources: {cpu: 500m, memory: 256Mi}}}
Y
until_is steady running
put done default <<'Y'
  jobs: {j: {command: [work], extensions: {simulated: {duration: 100ms}}}}
Y
until_is done completed
put broken default <<'Y'
  jobs: {j: {command: [work], retries: 1, extensions: {simulated: {duration: 100ms, exit-code: 3}}}}
Y
until_is broken failed
put long default <<'Y'
  jobs: {j: {command: [work], extensions: {simulated: {duration: 300000h}}}}
Y
put waiting default <<'Y'
  services: {web: {command: [serve], resources: {cpu: 900, memory: 1Gi}}}
Y
until_is waiting pending
put moving default <<'Y'
  services: {web: {command: [serve], replicas: 2, env: {V: one}}}
Y
until_is moving running
put moving default <<'Y'
  update: {strategy: canary, steps: [{weight: 50%}]}
  services: {web: {command: [serve], replicas: 2, env: {V: two}}}
Y
put follower default <<'Y'
  services: {web: {command: [serve], scale: {min: 1, max: 5, target: {metric: {name: queue-depth, value: 5}}}}}
Y
until_is follower running
tw metric push follower web queue-depth=12 >/dev/null
put starting default <<'Y'
  placement: {providers: [stuck]}
  services: {web: {command: [serve]}}
Y
put leaving default <<'Y'
  placement: {providers: [stuck]}
  services: {web: {command: [serve]}}
Y
sleep 2
tw delete leaving --detach >/dev/null
put hedged default <<'Y'
  hedge: {offers: 2, within: 2m, spendCap: 0.50}
  services: {web: {command: [serve]}}
Y
until_is hedged running

cat >"$folder/team.yaml" <<'Y'
apiVersion: tradewind.dev/v1
kind: Namespace
metadata: {name: team}
spec: {budget: {hourly: 0.13, monthly: 300}, quota: {deployments: 10, replicas: 40}}
Y
tw namespace set -f "$folder/team.yaml" >/dev/null
put first team <<'Y'
  services: {web: {command: [serve], replicas: 2}}
Y
for _ in $(seq 100); do [ "$(tw -n team -o json get first | sed -n 's/^  "status": "\(.*\)".*/\1/p')" = running ] && break; sleep 0.2; done
put held team <<'Y'
  services: {web: {command: [serve], replicas: 2}}
Y
sleep 1

tw token create ci --role operator --reach team >/dev/null
tw token create gone --expires 1ms >/dev/null
printf 'opensesame' | tw credential seal cloud-key >/dev/null
tw plan -f "$folder/steady.yaml" --out unchanged >/dev/null || true
manifest planned default <<'Y'
  services: {web: {command: [serve]}}
Y
tw plan -f "$folder/planned.yaml" --out next >/dev/null
tw plan apply next --detach >/dev/null
sed -i 's/\[serve\]/[serve, again]/' "$folder/planned.yaml"
tw plan -f "$folder/planned.yaml" --out pending >/dev/null

# A history of two versions, a shadow and a canary.
cp "$components/fastest.wasm" "$plugins/.new"
mv "$plugins/.new" "$plugins/cheapest.wasm"
tw plugin reload >/dev/null
put later default <<'Y'
  services: {web: {command: [serve]}}
Y
until_is later running
tw plugin rollback cheapest >/dev/null
tw policy shadow start "$components/fastest.wasm" --name quick >/dev/null
tw plugin canary start north "$components/simulated.wasm" --share 30% --for 700h --instance-file <(sed 's/0.04/0.041/' "$plugins/north.toml") >/dev/null
for n in 1 2 3; do
  put "seen-$n" default <<'Y'
  services: {web: {command: [serve]}}
Y
  until_is "seen-$n" running
done
mkdir "$folder/state/shown"
show() { # path, file
  local address
  address=$(sed -n 's/.*"address": *"\([^"]*\)".*/\1/p' "$folder/state/data/daemon.json")
  curl -sf -H "authorization: Bearer $(cat "$folder/state/data/admin.token")" "$address/v1/$1" >"$folder/state/shown/$2.json"
}
for what in deployments namespaces tokens plans shadows decisions; do show "$what" "$what"; done
for name in steady done broken long later hedged follower moving sleeper; do show "deployments/$name" "$name"; done
tw plugin list >&2
tw get >&2
tw plans >&2
tw audit verify >&2
tw audit head >"$folder/state/audit-head"
stop
# Without what only a running daemon has, or what is made anew; the same bytes once.
cp -a "$folder/state" "$folder/packed"
rm -rf "$folder/packed/data/"{cache,daemon.json}
for file in "$folder"/packed/plugins/*.wasm; do
  for kept in "$folder"/packed/data/plugin-history/components/*; do
    if cmp -s "$file" "$kept"; then ln -f "$kept" "$file"; fi
  done
done
find "$folder/packed" -type f | sort >&2
tar -C "$folder/packed" --owner=0 --group=0 --numeric-owner --sort=name -cf - . | gzip -9n >"$out"
du -h "$out" >&2
# What the state runs on this machine ends.
serve
tw delete sleeper >&2
stop
