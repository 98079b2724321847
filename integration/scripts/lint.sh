#!/usr/bin/env bash
# The lint configuration: gofmt, go vet, staticcheck, the types of all packages as macOS has them and
# govulncheck, each of which must have nothing to say. Where the database of
# govulncheck (GOVULNDB, or Go's own) cannot be reached, that is said and no failure:
# nothing in this repository could mend it.
#
# usage: lint.sh BUILD_TAGS STATICCHECK_VERSION GOVULNCHECK_VERSION
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tags=$1 staticcheck=$2 govulncheck=$3

# Every check of staticcheck but these:
#   ST1000  package comments: integration/repo asks for more than it does
#   ST1003  names: acronyms of the field are spelled as their specification spells them
checks=all,-ST1000,-ST1003

# The operating systems of `make build` that have files of their own here.
other_os=darwin

status=0
step() {
	echo "lint: $1" >&2
	shift
	"$@" || status=1
}

formatted() {
	local files
	files=$(gofmt -l . 2>&1)
	[ -z "$files" ] || { printf 'not formatted with gofmt:\n%s\n' "$files"; return 1; }
}

# It fails when a known vulnerability is in code that is called, or when it cannot work.
vulnerabilities() {
	local report verdict=0 database=${GOVULNDB:-https://vuln.go.dev}
	# Asked first, because the tool takes long to build and says the same then. What cannot be asked here is its to find out.
	case $database in
	http*)
		if command -v curl >/dev/null && ! report=$(curl --silent --show-error --fail --head --connect-timeout 3 \
			--max-time 10 --output /dev/null "$database/index/modules.json" 2>&1); then
			echo "lint: NOT CHECKED for known vulnerabilities: $database: $report" >&2
			return
		fi
		;;
	esac
	report=$(go run "golang.org/x/vuln/cmd/govulncheck@$govulncheck" ${GOVULNDB:+-db "$GOVULNDB"} -tags "$tags" ./... 2>&1) || verdict=$?
	case $report in
	*"govulncheck: fetching vulnerabilities:"*)
		echo "lint: NOT CHECKED for known vulnerabilities: ${report##*govulncheck: }" >&2
		return
		;;
	esac
	[ "$verdict" = 0 ] || { printf '%s\n' "$report"; return 1; }
}

# As the programs are built, which are compiled for the tests in any case; vet and staticcheck read what that made.
export CGO_ENABLED=0
# Memory is cheaper here than time: collected at five times the heap instead of twice, until that is much.
export GOGC=400 GOMEMLIMIT=${GOMEMLIMIT:-3GiB}

# Not go.mod's business: the linters are no dependencies of the module.
step gofmt formatted
step "go vet" go vet -tags "$tags" ./...
step staticcheck go run "honnef.co/go/tools/cmd/staticcheck@$staticcheck" -tags "$tags" -checks "$checks" ./...
# Not compiled, which is what takes minutes, almost all of it for the code of others.
step "types for $other_os" go run ./integration/typecheck -tags "$tags" $other_os arm64
step govulncheck vulnerabilities
exit $status
