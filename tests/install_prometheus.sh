#!/bin/sh
# What the tests of metrics speak to: Debian's Prometheus and node_exporter, unpacked beside the
# project and not installed, since installed they run as services. No root rights are needed.
set -eu
cd "$(dirname "$0")/.."
PACKAGES="prometheus prometheus-node-exporter"
FOLDER="$PWD/.venv/prometheus"

runs() {
    for program in prometheus promtool prometheus-node-exporter; do
        "$1/usr/bin/$program" --version >/dev/null 2>&1 || return 1
    done
}

missing() {
    echo "== Prometheus is missing ($1): tests of metrics in a real Prometheus are skipped" >&2
    [ "${CI:-}" != true ] || exit 1 # a failure where CI=true
    exit 0
}

if runs "$FOLDER"; then
    echo "== Prometheus is there: $FOLDER"
    exit 0
fi
command -v apt-get >/dev/null || missing "it is unpacked from Debian's packages, and here is no apt-get"

echo "== unpacking Debian's Prometheus for the tests of metrics into $FOLDER"
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
    dpkg-deb -x "$package" "$work/unpacked" || missing "$package cannot be unpacked"
done
runs "$work/unpacked" || missing "what was unpacked does not run"
mkdir -p "$(dirname "$FOLDER")"
rm -rf "$FOLDER"
mv "$work/unpacked" "$FOLDER"
