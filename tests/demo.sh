#!/usr/bin/env bash
# The main job on a throwaway daemon: assess, deploy over two simulated clouds and this machine, see it answer, swap the policy while it
# runs, see the next decision change, delete everything. Ends with an error if any step is not as stated.
# TRADEWIND_BIN and TRADEWIND_PLUGINS say where `make` has put the binary and the components.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bin=${TRADEWIND_BIN:?run this by make demo}
components=${TRADEWIND_PLUGINS:?run this by make demo}
hello=$(dirname "$bin")/hello
folder=$(mktemp -d)
data=$folder/data plugins=$folder/plugins
mkdir -p "$data" "$plugins"
# Nothing of the user's own configuration reaches the demo.
export TRADEWIND_CONFIG=$folder/config.toml
unset TRADEWIND_SERVER TRADEWIND_TOKEN TRADEWIND_PLUGINS TRADEWIND_DATA TRADEWIND_LISTEN TRADEWIND_SECRETS
: >"$TRADEWIND_CONFIG"
daemon=

tw() { "$bin" --data "$data" "$@"; }
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() {
  printf '\ndemo: %s\n' "$*" >&2
  printf -- '--- the daemon said:\n' >&2
  tail -n 40 "$folder/log" >&2 || true
  exit 1
}
finish() {
  local code=$?
  if [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null; then
    for name in web next; do tw delete "$name" --timeout 20s >/dev/null 2>&1 || true; done
    kill "$daemon" 2>/dev/null || true
    wait "$daemon" 2>/dev/null || true
  fi
  rm -rf "$folder"
  exit $code
}
trap finish EXIT

# An HTTP GET with nothing but the shell.
get() {
  exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf 'GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n' >&3
  sed '1,/^\r$/d' <&3
  exec 3>&-
}
json() { tw -o json "$@" | tr -d ' \n'; }

say "1. Plugins: a folder with components and the operator's instance files"
cp "$components"/{cheapest,simulated,simulated-live,process}.wasm "$plugins"
cloud() { # name, region, cores, memory, unit price per core and hour, performance, component
  cat >"$plugins/$1.toml" <<TOML
component = "$7.wasm"
[settings.regions.$2.sizes.standard]
cpu = $3
memory = "$4"
price = "$5"
price-unit = "cpu"
performance = $6
TOML
}
# The worked example of the assessment: Azure is half as fast, so an hour of work takes two.
cloud aws us-west-2 2 4Gi 0.5 1.0 simulated
cloud azure us-east-1 1 2Gi 0.3 0.5 simulated
cloud google us-central1 1 2Gi 0.2 1.0 simulated
# Two clouds whose replicas are real processes of this machine, and the machine itself.
cloud north eu-north-1 2 4Gi 0.04 0.5 simulated-live
cloud south eu-south-1 2 4Gi 0.09 2.0 simulated-live
for name in north south; do printf '[grants.process]\ncommands = ["%s"]\n' "$hello" >>"$plugins/$name.toml"; done
cat >"$plugins/machine.toml" <<TOML
component = "process.wasm"
[settings]
cpu-price = "0.06"
[grants.process]
commands = ["$hello"]
TOML

"$bin" --data "$data" serve --listen 127.0.0.1:0 --plugins "$plugins" >"$folder/log" 2>&1 &
daemon=$!
tw wait-ready || fail "the daemon did not start"
tw plugin list
[ "$(json plugin list | grep -o '"state":"active"' | wc -l)" -eq 7 ] || fail "not all seven plugin instances are active"

say "2. Assessment: what an hour of work costs on three clouds (C = c·R·T)"
cat >"$folder/e1.yaml" <<'YAML'
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {name: e1}
spec:
  placement: {providers: [aws, azure, google]}
  jobs:
    work: {command: [train], duration: 1h, resources: {cpu: 1, memory: 2Gi}}
YAML
tw assess -f "$folder/e1.yaml"
report=$(json assess -f "$folder/e1.yaml")
offer() { printf '%s' "$report" | grep -o "{\"provider\":\"$1\"[^}]*}[^}]*}[^}]*}" | head -n 1; }
expect() { # cloud, T, R and C by cores, R and C by cores × GiB
  local row
  row=$(offer "$1")
  for part in "\"hours\":$2" "\"byCpu\":{\"units\":$3,\"cost\":\"$4\"}" "\"byCpuMemory\":{\"units\":$5,\"cost\":\"$6\"}"; do
    [[ $row == *"$part"* ]] || fail "the assessment of $1 lacks $part: $row"
  done
}
expect aws 1.0 2.0 1.00 8.0 4.00
expect azure 2.0 1.0 0.60 2.0 1.20
expect google 1.0 1.0 0.20 2.0 0.40
[[ $report == *'"choice":[{"provider":"google"'* ]] || fail "Google Cloud should have been chosen"

say "3. One manifest over two clouds and this machine"
manifest() { # name, replicas, placement
  cat <<YAML
apiVersion: tradewind.dev/v1
kind: CloudDeployment
metadata: {name: $1}
spec:
  placement: {providers: [north, south, machine]$3}
  services:
    web:
      command: ["$hello"]
      env: {GREETING: "$1"}
      ports: {http: {protocol: http}}
      health: {http: /health}
      replicas: $2
      resources: {cpu: 100m, memory: 64Mi}
YAML
}
manifest web 3 ', spread: {over: provider, max: 1}' >"$folder/web.yaml"
tw assess -f "$folder/web.yaml"
# A month on each place, by the clock: south is four times as fast as north, and more than twice as dear.
report=$(json assess -f "$folder/web.yaml")
for part in '"provider":"north"' '"provider":"south"'; do [[ $report == *"$part"* ]] || fail "the assessment lacks $part"; done
for bill in north:58.40 south:131.40 machine:4.38; do
  [[ $(offer "${bill%%:*}") == *"\"hours\":730.0"*"\"cost\":\"${bill##*:}\""* ]] || fail "a month on ${bill%%:*} should cost \$${bill##*:}"
done
tw plan -f "$folder/web.yaml"
tw apply -f "$folder/web.yaml"
tw get
places=$(json get web | grep -o '"places":\[[^]]*\]')
for place in north/eu-north-1 south/eu-south-1 machine; do
  [[ $places == *"\"$place"* ]] || fail "nothing runs on $place: $places"
done

say "4. It answers"
ports=$(json get web | grep -o '"number":[0-9]*' | cut -d: -f2 | sort -u)
[ "$(printf '%s\n' "$ports" | grep -c .)" -eq 3 ] || fail "three endpoints were expected: $ports"
for port in $ports; do
  answer=$(get "$port") || fail "nothing answers on port $port"
  printf 'GET http://127.0.0.1:%s/ → %s\n' "$port" "$answer"
  [ "$answer" = "hello, web" ] || fail "an unexpected answer"
done

say "5. Another policy takes over while everything runs: the cheapest place before, the fastest after"
manifest next 1 '' >"$folder/next.yaml"
json plan -f "$folder/next.yaml" | grep -o '"changes":\[{[^}]*' | grep -q '"provider":"machine"' || fail "the cheapest place is this machine"
tw plan -f "$folder/next.yaml"
before=$(json plugin inspect cheapest | grep -o '"component":"sha256:[0-9a-f]*"' | head -n 1)
cp "$components/fastest.wasm" "$plugins/.next" && mv "$plugins/.next" "$plugins/cheapest.wasm"
for _ in $(seq 300); do
  after=$(json plugin inspect cheapest | grep -o '"component":"sha256:[0-9a-f]*"' | head -n 1)
  [ "$after" != "$before" ] && break
  sleep 0.05
done
[ "$after" != "$before" ] || fail "the new policy did not become active"
tw apply -f "$folder/next.yaml"
json get next | grep -q '"places":\["south/eu-south-1"\]' || fail "the fastest place is south"
printf 'policy %s → %s: the next decision went to south\n' "${before:20:12}" "${after:20:12}"
for port in $ports; do get "$port" >/dev/null || fail "port $port went silent during the swap"; done

say "6. Everything is deleted again"
tw delete next
tw delete web
[[ $(json get) == *'"items":[]'* ]] || fail "something is left"
for port in $ports; do
  if (get "$port") >/dev/null 2>&1; then fail "port $port still answers"; fi
done
say "All steps were as stated"
