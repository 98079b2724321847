#!/usr/bin/env bash
# Prints the path of a Python that has the packages of requirements.txt, or of the file of this
# folder that is named instead. It is a virtual environment in CIPHERSTREAM_CACHE (~/.cache/cipherstream), made when it is not there
# yet, which needs python3 with venv, and PyPI or a mirror that pip knows.
#
# It was moved after pip had filled it, so programs are called as `python -m NAME`. Its byte code does not depend on times, so that
# copies of packages have it too.
set -euo pipefail

requirements=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/${1:-requirements.txt}
cache=${CIPHERSTREAM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cipherstream}/python
kept=$cache/$({ python3 --version && cat "$requirements"; } | cksum | tr ' ' '-')

if [ ! -x "$kept/bin/python" ]; then
	mkdir -p "$cache"
	fresh=$(mktemp -d "$cache/fresh-XXXXXX")
	trap 'rm -rf "$fresh"' EXIT
	{
		python3 -m venv "$fresh/venv"
		"$fresh/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile -r "$requirements"
		# Some packages have files that are meant for other versions of Python.
		"$fresh/venv/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$fresh/venv/lib" || true
	} </dev/null >&2
	# Another one may have been quicker.
	[ -x "$kept/bin/python" ] || mv "$fresh/venv" "$kept"
fi
echo "$kept/bin/python"
