#!/bin/sh
# Installs Go programs: go-install.sh DIRECTORY MODULE@VERSION… One that cannot be had is named and left out, and the tests that
# drive it skip; in CI it is an error.
set -u
directory=$(cd "$1" && pwd)
shift
failed=0
if ! command -v "$GO" > /dev/null; then
    echo "go is not installed: the tests that drive mc, restic and minio-go will be skipped" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 0
fi
for module in "$@"; do
    GOBIN=$directory "$GO" install "$module" || { echo "could not install $module: its tests will be skipped" >&2; failed=1; }
done
(cd tests/clients/miniogo && "$GO" build -o "$directory/miniogo" .) || { echo "could not build the minio-go program: its tests will be skipped" >&2; failed=1; }
[ -z "${CI:-}" ] || exit $failed
exit 0
