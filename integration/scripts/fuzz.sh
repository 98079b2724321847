#!/usr/bin/env bash
# Runs every fuzz target of the module for some time each. An input that fails is
# kept by Go under the package's testdata/fuzz, to be fixed and committed.
#
# Go takes up to a minute to make an input that reached new code shorter, and does so
# again and again: a target of 30 seconds then runs a handful of inputs. Here it takes
# no more than a second, and its last line says how many inputs it ran.
#
# Where the time is over in the midst of an input, Go may call that a failure, "context
# deadline exceeded", without an input. It is none.
#
# usage: fuzz.sh BUILD_TAGS TIME
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
status=0
said=$(mktemp)
trap 'rm -f "$said"' EXIT
while IFS=: read -r file target; do
	target=${target#func }
	target=${target%%(*}
	echo "fuzz: $target in ${file%/*}"
	go test -tags "$1" -run '^$' -fuzz "^$target\$" -fuzztime "$2" -fuzzminimizetime 1s "./${file%/*}" 2>&1 | tee "$said" && continue
	# The only line of the failure.
	[ "$(grep -A1 "^--- FAIL: $target " "$said" | tail -n +2)" = "    context deadline exceeded" ] &&
		! grep -q "Failing input written" "$said" && continue
	status=1
done < <(grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*\(' sdk plugins engine pipelines docs cmd integration | sort)
exit $status
