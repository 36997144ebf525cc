#!/usr/bin/env bash
# Installs moto, which stands for AWS in the tests, into an environment of its own below the cache folder. Done at once when it is there.
# Where it can't be had this says why, and its tests are left out; with TRADEWIND_REQUIRE_BACKENDS=1 it fails instead.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
name=moto
left_out="the tests on AWS are left out"
home=${XDG_CACHE_HOME:-$HOME/.cache}/tradewind-backends/moto
. "$here/../python.sh"

environment "$here/requirements.txt"
