#!/usr/bin/env bash
# Prints the name of a server's image that the Docker engine has (see common.sh for
# where it comes from).
#
#   image.sh NAME            mysql, mariadb or minio
#   image.sh --find NAME     pulls, and makes nothing; exits 1 when there is none
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

find=
if [ "${1:-}" = --find ]; then
	find=1
	shift
fi
name=${1:-}
default=$(default_image "$name") || exit 2
DOCKER_HOST=$("$BASH" "$images/engine.sh") || exit 1
export DOCKER_HOST

have() { docker image inspect "$1" >/dev/null 2>&1; }

wish=$(wished "$name")
made=cipherstream-test/$name:$(recipe)
for image in ${wish:-"$default" "$made"}; do
	if have "$image"; then
		echo "$image"
		exit
	fi
done
if docker pull -q "${wish:-$default}" >/dev/null 2>&1; then
	echo "${wish:-$default}"
	exit
fi
if [ -n "$wish" ]; then
	say "the image $wish is not here, and cannot be pulled"
	exit 1
fi
[ -z "$find" ] || exit 1
folder=$("$BASH" "$images/rootfs.sh" "$name")
tar -C "$folder" -c . | docker import - "$made" >/dev/null
for image in $(docker image ls --format '{{.Repository}}:{{.Tag}}' "cipherstream-test/$name"); do
	[ "$image" = "$made" ] || docker image rm "$image" >/dev/null 2>&1 || true # made by an older recipe
done
for volume in $(docker volume ls --quiet --filter "name=cipherstream-test-$name-"); do
	docker volume rm "$volume" >/dev/null 2>&1 || true # with what a server of an older one has made (integration/servers)
done
echo "$made"
