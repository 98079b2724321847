#!/usr/bin/env bash
# Runs every fuzz target of the module for some time each. An input that fails is
# kept by Go under the package's testdata/fuzz, to be fixed and committed.
#
# usage: fuzz.sh BUILD_TAGS TIME
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
status=0
while IFS=: read -r file target; do
	target=${target#func }
	target=${target%%(*}
	echo "fuzz: $target in ${file%/*}"
	go test -tags "$1" -run '^$' -fuzz "^$target\$" -fuzztime "$2" "./${file%/*}" || status=1
done < <(grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*\(' sdk plugins engine pipelines cmd integration | sort)
exit $status
