#!/usr/bin/env bash
# Gets the servers of the tests ready: as images of a Docker engine, or, where there
# can be none, as folders with their programs. Exits 1 when one of them is neither.
#
# CIPHERSTREAM_SERVERS=process leaves Docker out.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

with=image.sh
if [ "${CIPHERSTREAM_SERVERS:-}" = process ] || ! "$BASH" "$images/engine.sh" start >/dev/null; then
	say "the servers will be plain processes: no Docker engine is used"
	with=rootfs.sh
	servers="mysql minio" # MariaDB's programs are on the machine (integration/scripts/deps.sh)
fi
missing=
for name in $servers; do
	"$BASH" "$images/$with" --find "$name" >/dev/null 2>&1 || missing="$missing $name"
done
# Once, before several want it at the same time.
case $missing in
*mysql* | *mariadb*) command -v debootstrap >/dev/null || install debootstrap || true ;;
esac
pids=
for name in $missing; do
	"$BASH" "$images/$with" "$name" >/dev/null &
	pids="$pids $name:$!"
done
status=0
for pid in $pids; do
	name=${pid%%:*}
	wait "${pid#*:}" && continue
	# An engine that answers may still be unable to take an image in.
	if [ "$with" = image.sh ] && case $name in
		mariadb) PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v mariadbd >/dev/null ;;
		*) "$BASH" "$images/rootfs.sh" "$name" >/dev/null ;;
	esac then
		say "there is no image of $name: it will be a plain process"
	else
		status=1
	fi
done
exit $status
