#!/usr/bin/env bash
# Prints the address of a Docker engine, in the form of DOCKER_HOST.
#
#   engine.sh          of one that runs; exits 1 where none does
#   engine.sh start    installs Docker and starts it, where root on Debian can
#   engine.sh stop     ends the engine that engine.sh started
#
# The engine that it starts has a socket and a folder of its own, so that it meddles
# with no other one of the machine. Its images are in the cache.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

answers() { command -v docker >/dev/null && timeout 10 docker -H "$1" version >/dev/null 2>&1; }

# running prints the address of an engine that answers.
running() {
	local host
	host=${DOCKER_HOST:-$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || true)}
	for host in "${host:-unix:///var/run/docker.sock}" "unix://$own_socket"; do
		if answers "$host"; then
			echo "$host"
			return
		fi
	done
	return 1
}

# launch OPTION… starts the engine and waits until it answers or has ended.
launch() {
	local log=$cache/docker.log pid
	mkdir -p "$own_state" "$cache/docker"
	rm -f "$own_pid"
	setsid dockerd --host "unix://$own_socket" --pidfile "$own_pid" --exec-root "$own_state/exec" \
		--data-root "$cache/docker" "$@" </dev/null >"$log" 2>&1 &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		if answers "unix://$own_socket"; then
			echo "unix://$own_socket"
			return
		fi
		sleep 0.2
	done
	say "dockerd $* ended: $(tail -n 1 "$log")"
	return 1
}

start() {
	running && return
	if [ "$(uname -s)" != Linux ] || [ "$(id -u)" != 0 ]; then
		say "no Docker engine runs; start it, or let root do so"
		return 1
	fi
	# Debian has the client in a package of its own since 13.
	command -v dockerd >/dev/null || install docker.io >&2 || return 1
	command -v docker >/dev/null || install docker-cli >&2 || return 1
	running && return # the package has started it
	# Kernels of sandboxes lack tables of the packet filter, or file systems in layers.
	launch || launch --iptables=false --ip6tables=false ||
		launch --iptables=false --ip6tables=false --storage-driver=vfs
}

case ${1:-} in
"") running ;;
start)
	mkdir -p "$cache"
	exec 9>"$cache/engine.lock"
	flock 9
	start 9>&-
	;;
stop)
	[ ! -e "$own_pid" ] || kill "$(cat "$own_pid")"
	;;
*)
	say "usage: engine.sh [start | stop]"
	exit 2
	;;
esac
