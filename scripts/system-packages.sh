#!/bin/sh
# The shared libraries that OpenCV and headless rendering load, where Debian's tools are there.
set -eu
packages="libegl1 libgl1 libgl1-mesa-dri libglib2.0-0 make"
command -v dpkg-query >/dev/null 2>&1 || { echo "Install the equivalents of: $packages"; exit 0; }
missing=""
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then sudo=""
elif command -v sudo >/dev/null 2>&1; then sudo="sudo"
else echo "As root, run: apt-get install$missing" >&2; exit 1
fi
$sudo apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing
