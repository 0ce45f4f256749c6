#!/bin/sh
# The browser that opens pages in tests. Installs Debian's chromium where it may, else says what is missed.
set -eu
if command -v chromium >/dev/null; then
    echo "== chromium is there: $(command -v chromium)"
elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "== installing Debian's chromium for the tests of pages"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
elif [ "${CI:-}" = true ]; then
    echo "== chromium is missing and cannot be installed here: a failure where CI=true" >&2
    exit 1
else
    echo "== chromium is missing: tests of pages in a browser are skipped."
    echo "   To run them: sudo apt-get install --no-install-recommends chromium"
fi
