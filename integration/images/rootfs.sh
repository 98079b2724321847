#!/usr/bin/env bash
# Makes a folder with a server and all that it needs to run, and prints its path.
# What was made before is taken from the cache.
#
#   rootfs.sh NAME           mysql, mariadb or minio
#   rootfs.sh --find NAME    makes nothing; exits 1 when it is not there
#
# mysql and mariadb: Debian's packages, by debootstrap (root on Debian); the mirror is
# the one that apt uses. MySQL stands in the unstable suite only. minio: compiled by
# go install, without cgo.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

minio=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c

# mirror prints where apt gets Debian's packages from.
mirror() {
	apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
		sed -n 's/^Debian \(https\{0,1\}:.*\)/\1/p' | sort -u | head -n 1
}

# debian FOLDER SUITE PACKAGES makes a root file system.
debian() {
	local from proxy
	if [ "$(id -u)" != 0 ]; then
		say "only root can make a root file system with debootstrap"
		return 1
	fi
	command -v debootstrap >/dev/null || install debootstrap || return 1
	from=$(mirror)
	if [ -z "$from" ]; then
		say "apt has no mirror of Debian"
		return 1
	fi
	proxy=$(apt-config shell p Acquire::http::Proxy)
	eval "$proxy"
	[ -z "${p:-}" ] || export http_proxy="$p"
	# The packages are unpacked and not configured, which takes half the time, and neither
	# mounts nor devices, which a container is not allowed.
	if ! debootstrap --foreign --variant=minbase --include="$3" "$2" "$1" "$from" >"$1.log" 2>&1; then
		say "debootstrap of $3 failed: $(tail -n 3 "$1.log")"
		return 1
	fi
	for p in "$1"/var/cache/apt/archives/*.deb; do dpkg-deb --extract "$p" "$1" || return 1; done
	echo 'root:x:0:0:root:/:/bin/sh' >"$1/etc/passwd"
	echo 'root:x:0:' >"$1/etc/group"
	rm -rf "$1"/debootstrap "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/usr/share/{doc,man,locale} "$1"/dev/* "$1.log"
}

make_mysql() { debian "$1" unstable mysql-server-core; }

make_mariadb() { debian "$1" stable mariadb-server-core,mariadb-client-core; }

make_minio() {
	mkdir -p "$1/usr/bin" "$1/tmp"
	(cd / && GOBIN="$1/usr/bin" CGO_ENABLED=0 go install -trimpath -ldflags '-s -w' "$minio") >"$1.log" 2>&1 || {
		say "go install $minio failed: $(tail -n 3 "$1.log")"
		return 1
	}
	rm -f "$1.log"
}

find=
if [ "${1:-}" = --find ]; then
	find=1
	shift
fi
name=${1:-}
default_image "$name" >/dev/null || exit 2
folder=$cache/rootfs/$name-$(recipe)
if [ ! -d "$folder" ]; then
	[ -z "$find" ] || exit 1
	mkdir -p "$cache/rootfs"
	exec 9>"$cache/rootfs/$name.lock"
	flock 9
fi
if [ ! -d "$folder" ]; then
	say "making $name, which takes some minutes"
	# What an older recipe made, and what was left unfinished.
	rm -rf "$cache/rootfs/$name"-*
	begin=$SECONDS
	"make_$name" "$folder.partial" 9>&- || exit 1
	mv "$folder.partial" "$folder"
	say "made $name in $((SECONDS - begin)) s"
fi
echo "$folder"
