#!/bin/sh
# The receiver the tests speak to. Installs Debian's syslog-ng-core where it may, else says what is missed.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
if command -v syslog-ng >/dev/null; then
    echo "== syslog-ng is there: $(command -v syslog-ng)"
elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "== installing Debian's syslog-ng-core for the delivery tests"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends syslog-ng-core >/dev/null
elif [ "${CI:-}" = true ]; then
    echo "== syslog-ng is missing and cannot be installed here: a failure where CI=true" >&2
    exit 1
else
    echo "== syslog-ng is missing: tests of delivery to a real syslog-ng are skipped."
    echo "   To run them: sudo apt-get install --no-install-recommends syslog-ng-core"
fi
