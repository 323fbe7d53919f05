#!/usr/bin/env bash
# The whole loop without a server, root or GitHub: demo.sh DIRECTORY-OF-THE-PROGRAMS
set -euo pipefail

bin=$(cd "$1" && pwd)
scratch=$(mktemp -d)
daemon=
finish() {
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
	rm -rf "$scratch"
}
trap finish EXIT

say() { printf '\n== %s\n' "$*"; }
dispatchctl() { "$bin/dispatchctl" --socket "$scratch/control.sock" "$@"; }
# What a command prints stays together, whoever else prints meanwhile.
ctl() { printf '\n$ dispatchctl %s\n%s\n' "$*" "$(dispatchctl "$@")"; }

mkdir "$scratch/images"
for name in fedora-41 ubuntu-25.10 debian-13; do
	head -c 1500000 /dev/urandom >"$scratch/images/host-$name.efi"
done
cat >"$scratch/dispatchd.toml" <<TOML
state_dir = "$scratch/state"
cache_dir = "$scratch/cache"

[boot]
listen = "127.0.0.1:0"

[control]
socket = "$scratch/control.sock"

[cache]
min_free = "16MiB"

[discovery]
enabled = false
TOML

say "starting dispatchd on a scratch directory"
"$bin/dispatchd" --config "$scratch/dispatchd.toml" 2>"$scratch/log" &
daemon=$!
until grep -q ' queue: ' "$scratch/log" || ! kill -0 "$daemon" 2>/dev/null; do
	sleep 0.1
done
cat "$scratch/log"

say "loading a sample release of three images"
ctl load --dir "$scratch/images"
ctl status

say "two machines are switched on"
printf '\n$ dispatchctl simulate --machines 2 --pace 1\n'
dispatchctl simulate --machines 2 --pace 1 &
machines=$!
for _ in 1 2 3; do
	sleep 2.5
	ctl status
done
wait "$machines"

say "all is run; the machines are switched off"
ctl status
ctl reports

say "stopping dispatchd"
kill -TERM "$daemon"
wait "$daemon"
daemon=
tail -n 1 "$scratch/log"
say "that was the whole loop: see README.md for the real thing"
