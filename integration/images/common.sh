# Sourced by the scripts of this folder, never run.
#
# Where a server's image comes from, in this order:
#   1. the image named by the setting CIPHERSTREAM_MYSQL_IMAGE, _MARIADB_IMAGE or
#      _MINIO_IMAGE, pulled if need be, and nothing else then;
#   2. the default image below, where a registry can be reached;
#   3. an image made here by rootfs.sh.
#
# CIPHERSTREAM_CACHE is the folder for what was made, kept between runs; its default
# is cipherstream in XDG_CACHE_HOME, that is ~/.cache.
set -euo pipefail

images=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CIPHERSTREAM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cipherstream}
servers="mysql mariadb minio"

# The engine that engine.sh starts where none runs.
own_state=/run/cipherstream-docker
own_socket=$own_state/docker.sock
own_pid=$own_state/dockerd.pid

say() { echo "images: $*" >&2; }

default_image() {
	case $1 in
	mysql) echo mysql:8.4 ;;
	mariadb) echo mariadb:11.4 ;;
	minio) echo minio/minio:RELEASE.2025-09-07T16-13-09Z ;;
	*) say "there is no server $1; there are $servers"; return 1 ;;
	esac
}

# wished NAME prints the image that the environment asks for.
wished() {
	local variable
	variable=CIPHERSTREAM_$(echo "$1" | tr '[:lower:]' '[:upper:]')_IMAGE
	echo "${!variable:-}"
}

# recipe changes when what rootfs.sh makes may change.
recipe() { cksum <"$images/rootfs.sh" | cut -d' ' -f1; }

# install PACKAGE… works for root on Debian only.
install() {
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		say "$* would be needed, and can be installed by root on Debian only"
		return 1
	fi
	say "installing $*"
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" </dev/null >&2 && return
	{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; } </dev/null >&2
}
