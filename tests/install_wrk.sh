#!/bin/sh
# What extraction is measured beside. Installs Debian's wrk where it may, else says what is missed.
set -eu
if command -v wrk >/dev/null; then
    echo "== wrk is there: $(command -v wrk)"
elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "== installing Debian's wrk for the benchmarks"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk >/dev/null
else
    echo "== wrk is missing: extraction is not measured beside it."
    echo "   To do so: sudo apt-get install --no-install-recommends wrk"
fi
