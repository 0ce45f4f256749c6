#!/bin/sh
# Checks the units of systemd in a test. Installs Debian's systemd where it may, else says what is missed.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
if command -v systemd-analyze >/dev/null; then
    echo "== systemd-analyze is there: $(command -v systemd-analyze)"
elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "== installing Debian's systemd for the test of its units"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends systemd >/dev/null
elif [ "${CI:-}" = true ]; then
    echo "== systemd-analyze is missing and cannot be installed here: a failure where CI=true" >&2
    exit 1
else
    echo "== systemd-analyze is missing: the test of the units of systemd is skipped."
    echo "   To run them: sudo apt-get install --no-install-recommends systemd"
fi
