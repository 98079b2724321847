#!/usr/bin/env bash
# Installs the programs named as arguments, or else all that the tests use beside
# Go: as root on Debian with apt-get, elsewhere it says what to install. Without
# arguments it also gets the servers of the tests ready (integration/images), and the
# readers that judge outputs (python.sh).
#
# Of MariaDB only the -core packages are taken: they hold the programs, and start
# no server of their own. Exits 1 when something is still missing in CI, or with
# CIPHERSTREAM_REQUIRE_SERVERS=1; else the tests that need it are skipped, and say so.
set -euo pipefail

# Server programs are not in an ordinary user's PATH.
PATH="$PATH:/usr/sbin:/usr/local/sbin:/opt/homebrew/opt/mariadb/bin"

package_of() {
	case $1 in
	mariadbd | mariadb-install-db) echo mariadb-server-core ;;
	mariadb) echo mariadb-client-core ;;
	mariadb-dump) echo mariadb-client ;;
	protoc) echo protobuf-compiler ;;
	gcc) echo gcc libc6-dev ;;
	node) echo nodejs ;;
	nginx) echo nginx-light ;;
	nvim) echo neovim ;;
	python-ensurepip) echo python3 python3-venv ;;
	python-*) echo python3 "python3-${1#python-}" ;;
	*) echo "$1" ;;
	esac
}

# Without this header of the C library gcc is there, and the race detector does
# not build all the same. The plugin in JavaScript needs Node.js 18.
present() {
	case $1 in
	python-*)
		python3 -c "import ${1#python-}" 2>/dev/null
		return
		;;
	esac
	command -v "$1" >/dev/null || return 1
	case $1 in
	gcc) echo '#include <stdlib.h>' | gcc -E - >/dev/null 2>&1 ;;
	node) node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' ;;
	esac
}

missing() {
	local program
	for program in "${programs[@]}"; do
		present "$program" || echo "$program"
	done
}

programs=("$@")
[ $# -gt 0 ] || programs=(mariadbd mariadb-install-db mariadb python3 python-ensurepip python-cryptography python-jsonschema python-yaml chromium curl gzip nginx strace unzip zstd gcc node npm nvim)

# MariaDB's ed25519 authentication is in the package that starts a server of its own.
# Its one file is taken out of that.
ed25519() {
	local dir=/usr/lib/mysql/plugin scratch
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && [ ! -e $dir/auth_ed25519.so ] || return 0
	scratch=$(mktemp -d)
	(
		cd "$scratch"
		apt-get download -q mariadb-server || { apt-get update -q && apt-get download -q mariadb-server; } || exit
		dpkg-deb --fsys-tarfile mariadb-server_*.deb | tar -x ".$dir/auth_ed25519.so"
		mkdir -p $dir && cp ".$dir/auth_ed25519.so" $dir/
	) </dev/null >&2 || echo "deps: MariaDB's auth_ed25519 cannot be had" >&2
	rm -rf "$scratch"
}

# Nothing is left to do but the servers, which are for the tests alone.
done_with_programs() {
	[ $# -eq 0 ] || exit 0
	ed25519
	bash "$(dirname "${BASH_SOURCE[0]}")/python.sh" >/dev/null || {
		echo "deps: the readers that judge outputs (requirements.txt) cannot be had here" >&2
		[ "${CI:-}" = "" ] && [ "${CIPHERSTREAM_REQUIRE_SERVERS:-}" != 1 ] || exit 1
	}
	bash "$(dirname "${BASH_SOURCE[0]}")/python.sh" schemathesis.txt >/dev/null || {
		echo "deps: schemathesis (schemathesis.txt) cannot be had here" >&2
		[ "${CI:-}" = "" ] && [ "${CIPHERSTREAM_REQUIRE_SERVERS:-}" != 1 ] || exit 1
	}
	bash "$(dirname "${BASH_SOURCE[0]}")/python.sh" webhooks.txt >/dev/null || {
		echo "deps: the library of Standard Webhooks (webhooks.txt) cannot be had here" >&2
		[ "${CI:-}" = "" ] && [ "${CIPHERSTREAM_REQUIRE_SERVERS:-}" != 1 ] || exit 1
	}
	bash "$(dirname "${BASH_SOURCE[0]}")/python.sh" mail.txt >/dev/null || {
		echo "deps: the mail server of the tests (mail.txt) cannot be had here" >&2
		[ "${CI:-}" = "" ] && [ "${CIPHERSTREAM_REQUIRE_SERVERS:-}" != 1 ] || exit 1
	}
	bash "$(dirname "${BASH_SOURCE[0]}")/python.sh" plugins.txt >/dev/null || {
		echo "deps: what plugins in Python need (plugins.txt) cannot be had here" >&2
		[ "${CI:-}" = "" ] && [ "${CIPHERSTREAM_REQUIRE_SERVERS:-}" != 1 ] || exit 1
	}
	bash "$(dirname "${BASH_SOURCE[0]}")/python.sh" typing.txt >/dev/null || {
		echo "deps: mypy (typing.txt) cannot be had here" >&2
		[ "${CI:-}" = "" ] && [ "${CIPHERSTREAM_REQUIRE_SERVERS:-}" != 1 ] || exit 1
	}
	bash "$(dirname "${BASH_SOURCE[0]}")/../images/prepare.sh" || {
		echo "deps: not every server of the tests can be had here" >&2
		[ "${CI:-}" = "" ] && [ "${CIPHERSTREAM_REQUIRE_SERVERS:-}" != 1 ] || exit 1
	}
	exit 0
}

absent=$(missing)
[ -n "$absent" ] || done_with_programs "$@"

packages=$(for program in $absent; do package_of "$program"; done | tr ' ' '\n' | sort -u | tr '\n' ' ')
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "deps: installing $packages" >&2
	export DEBIAN_FRONTEND=noninteractive
	{
		# RUNLEVEL: nginx is not to start by itself.
		apt-get update -q && RUNLEVEL=1 apt-get install -q -y --no-install-recommends $packages
	} </dev/null >&2 || echo "deps: apt-get failed" >&2
	absent=$(missing)
	[ -n "$absent" ] || done_with_programs "$@"
fi

echo "deps: missing:" $absent >&2
echo "deps: on Debian, as root: apt-get install --no-install-recommends $packages" >&2
if [ "${CI:-}" != "" ] || [ "${CIPHERSTREAM_REQUIRE_SERVERS:-}" = 1 ] || [ $# -gt 0 ]; then
	exit 1
fi
