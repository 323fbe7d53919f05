#!/usr/bin/env bash
# Builds the Debian package: deb.sh DIRECTORY-OF-THE-PROGRAMS DIRECTORY-FOR-THE-PACKAGE
#
# It holds a virtual environment of Debian's own Python, with the versions of the libraries that the
# given one has: what was tested is what is installed. Only this script uses the network; neither
# the build proper (packaging/debian/rules) nor the installation does.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$(realpath "$1")
out=$(realpath -m "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$bin/python" -m build --wheel --no-isolation --outdir "$work" . >"$work/log" 2>&1 || {
	cat "$work/log" >&2
	exit 1
}
wheel=$(ls "$work"/*.whl)
version=$(basename "$wheel" | cut -d- -f2)
build=$work/dispatchd-$version
mkdir -p "$build" "$out"
cp -r docs packaging/debian packaging/systemd packaging/man "$build"
cp CHANGELOG.md "$build/docs/release-notes.md"
cp packaging/systemd/sysusers.conf "$build/debian/sysusers"
if [ -n "${DEBEMAIL:-}" ]; then
	sed -i "/^Maintainer: /c Maintainer: ${DEBFULLNAME:-$DEBEMAIL} <$DEBEMAIL>" "$build/debian/control"
fi

"$bin/python" -m pip freeze --exclude-editable >"$work/tested"
/usr/bin/python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip wheel --quiet --disable-pip-version-check \
	--constraint "$work/tested" --wheel-dir "$build/wheels" "$wheel"

# The version is pyproject's and the date that of the last change.
date=$(git log -1 --format=%cd --date=rfc2822 2>/dev/null || date --rfc-email)
cat >"$build/debian/changelog" <<CHANGELOG
dispatchd ($version) bookworm; urgency=medium

  * See /usr/share/doc/dispatchd/release-notes.md.

 -- $(sed -n 's/^Maintainer: //p' "$build/debian/control")  $date
CHANGELOG
(cd "$build" && dpkg-buildpackage --build=binary --no-sign >"$work/log" 2>&1) || {
	cat "$work/log" >&2
	exit 1
}
cp "$work/dispatchd_$version"_*.deb "$out"
ls "$out/dispatchd_$version"_*.deb
