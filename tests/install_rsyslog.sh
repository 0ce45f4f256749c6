#!/bin/sh
# A second receiver for the delivery tests: Debian's rsyslog, unpacked beside the project and not
# installed, since its package and syslog-ng's exclude each other. No root rights are needed.
set -eu
cd "$(dirname "$0")/.."
PACKAGES="rsyslog rsyslog-openssl rsyslog-relp libestr0 libfastjson4 liblognorm5 librelp0"
FOLDER="$PWD/.venv/rsyslog"

runs() { # all libraries found, modules there
    libraries=$(echo "$1"/usr/lib/*/rsyslog)
    for module in lmnsd_ossl mmnormalize imrelp; do
        [ -e "$libraries/$module.so" ] || return 1
    done
    LD_LIBRARY_PATH="${libraries%/rsyslog}" "$1/usr/sbin/rsyslogd" -v >/dev/null 2>&1
}

missing() {
    echo "== rsyslog is missing ($1): tests of delivery to a real rsyslog are skipped" >&2
    [ "${CI:-}" != true ] || exit 1 # a failure where CI=true
    exit 0
}

if runs "$FOLDER"; then
    echo "== rsyslog is there: $FOLDER"
    exit 0
fi
command -v apt-get >/dev/null || missing "it is unpacked from Debian's packages, and here is no apt-get"

echo "== unpacking Debian's rsyslog for the delivery tests into $FOLDER"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch() {
    # shellcheck disable=SC2086 # a word a package
    (cd "$work" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download $PACKAGES)
}
if ! fetch 2>/dev/null; then
    [ "$(id -u)" != 0 ] || apt-get update -qq || true # an old list names files that are gone
    fetch || missing "apt-get download $PACKAGES failed; sudo apt-get update may help"
fi
for package in "$work"/*.deb; do
    dpkg-deb -x "$package" "$work/rsyslog" || missing "$package cannot be unpacked"
done
runs "$work/rsyslog" || missing "what was unpacked does not run"
mkdir -p "$(dirname "$FOLDER")"
rm -rf "$FOLDER"
mv "$work/rsyslog" "$FOLDER"
