#!/usr/bin/env bash
# Makes sure of the Debian packages that the environment (venv), our own package (deb), the bench
# (bench) or the tests (test) need. As root they are installed; else what is missing is named. With
# CI=true missing is a failure.
set -euo pipefail

case "${1:-}" in
venv) packages=(python3-venv) ;;
bench) packages=(nginx-light) ;;
deb) packages=(debhelper dpkg-dev python3-venv scdoc) ;;
test) packages=(
	avahi-daemon avahi-utils binutils busybox-static clang cpio dbus debhelper debootstrap dnsmasq-base
	dpkg-dev iproute2 kmod lintian lld make ovmf procps python3-venv qemu-system-x86 scdoc systemd
	systemd-boot-efi systemd-container xz-utils
) ;;
*)
	echo "usage: $0 venv|bench|deb|test" >&2
	exit 2
	;;
esac

if [ "$1" = venv ] && python3 -c 'import ensurepip, venv' 2>/dev/null; then
	exit 0
fi
# The firmware tests download a kernel: apt must know of it.
if [ "$1" = test ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null &&
	! apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1; then
	apt-get update -qq
fi
missing=()
for package in "${packages[@]}"; do
	status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "installing: ${missing[*]}"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		"${missing[@]}" >/dev/null
	exit 0
fi
echo "not installed, since this is not root on Debian: ${missing[*]}" >&2
[ "$1" != test ] || echo "the tests that need them are skipped, each with its reason" >&2
[ "$1" = test ] && [ "${CI:-}" != true ]
