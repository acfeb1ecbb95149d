#!/bin/sh
# Builds Go programs: go-install.sh DIRECTORY MODULE… Each MODULE is a directory with a go.mod (and go.sum) that pins a program as
# its tool, or that is itself the program. One that cannot be had is named and left out, and the tests that drive it skip; in CI it
# is an error.
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
    if grep -q '^tool ' "$module/go.mod"; then package=tool; else package=.; fi
    (cd "$module" && GOBIN=$directory "$GO" install "$package") ||
        { echo "could not build ${module##*/}: its tests will be skipped" >&2; failed=1; }
done
[ -z "${CI:-}" ] || exit $failed
exit 0
