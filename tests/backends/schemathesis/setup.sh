#!/usr/bin/env bash
# Installs schemathesis and openapi-spec-validator, which hold the daemon against the description of its API, into an environment of their own
# below the cache folder. Done at once when they are there.
# Where they can't be had this says why, and their tests are left out; with TRADEWIND_REQUIRE_BACKENDS=1 it fails instead.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
name=schemathesis
left_out="the tests of the API's description are left out"
home=${XDG_CACHE_HOME:-$HOME/.cache}/tradewind-backends/schemathesis
. "$here/../python.sh"

environment "$here/requirements.txt"
