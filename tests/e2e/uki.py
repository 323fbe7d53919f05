"""A real workload for tests: a unified kernel image that speaks as beacon does, and reboots.

Debian's kernel, systemd's EFI stub, and an initramfs of busybox whose init sends `beacon boot`
(POST), some `beacon report`s (PUT) and resets the machine.
"""

import gzip
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

STUB = Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
#: In the order in which they need each other.
MODULES = (
    "failover",
    "net_failover",
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_net",
)
_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in {modules}; do insmod /$module.ko; done
ifconfig lo up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up
speak() {{
	length=$(printf %s "$2" | wc -c)
	{{
		printf '%s {path} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n' "$1"
		printf 'Content-Type: application/json\\r\\nContent-Length: %s\\r\\n' "$length"
		printf '\\r\\n%s' "$2"
	}} | nc {host} {port} | head -n 1 | sed "s/^/beacon $1: /"
}}
echo "workload {name} is up"
speak POST ''
{reports}
sync
reboot -f
"""


def cache() -> Path:
    """Where the kernel is kept between runs."""
    named = os.environ.get("DISPATCH_TEST_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "dispatchd-tests"


def kernel() -> tuple[Path, Path]:
    """Debian's cloud kernel and the directory of its modules, downloaded once."""
    root = cache() / "kernel"
    if not root.is_dir():
        fresh = cache() / f"kernel.{os.getpid()}"
        fresh.mkdir(parents=True)
        depends = _output("apt-cache", "depends", "--important", "linux-image-cloud-amd64")
        package = next(word for word in depends.split() if word.startswith("linux-image-6"))
        subprocess.run(["apt-get", "download", "-qq", package], cwd=fresh, check=True)
        (deb,) = fresh.glob("*.deb")
        subprocess.run(["dpkg", "-x", deb, fresh], check=True)
        deb.unlink()
        try:
            fresh.rename(root)
        except OSError:
            # Another run was quicker.
            shutil.rmtree(fresh)
    (image,) = (root / "boot").glob("vmlinuz-*")
    return image, root / "lib" / "modules"


def build_uki(
    target: Path,
    *,
    name: str,
    port: int,
    titles: Sequence[str],
    host: str = "10.0.2.2",
    path: str = "/dispatch",
) -> None:
    """Build the workload: it reports each of the titles, with one label, and reboots."""
    image, modules = kernel()
    scratch = target.with_suffix(".build")
    root = scratch / "root"
    for directory in ("bin", "proc", "sys", "dev"):
        (root / directory).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    for module in MODULES:
        (found,) = modules.rglob(f"{module}.ko")
        shutil.copy(found, root / f"{module}.ko")
    reports = [
        msgspec.json.encode({"title": title, "labels": ["certificate"]}).decode()
        for title in titles
    ]
    (root / "init").write_text(
        _INIT.format(
            modules=" ".join(MODULES),
            host=host,
            port=port,
            path=path,
            name=name,
            reports="\n".join(f"speak PUT {shlex.quote(report)}" for report in reports),
        )
    )
    (root / "init").chmod(0o755)
    names = "\n".join(str(file.relative_to(root)) for file in sorted(root.rglob("*")))
    archive = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc"],
        cwd=root,
        input=names.encode(),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    (scratch / "initrd").write_bytes(gzip.compress(archive, 1))
    (scratch / "cmdline").write_text("console=ttyS0 panic=5 quiet loglevel=3")
    (scratch / "osrel").write_text(f'NAME="{name}"\nID=test\n')
    sections = {
        "osrel": (scratch / "osrel", 0x20000),
        "cmdline": (scratch / "cmdline", 0x30000),
        "linux": (image, 0x2000000),
        "initrd": (scratch / "initrd", 0x3000000),
    }
    options = []
    for section, (file, address) in sections.items():
        options += ["--add-section", f".{section}={file}"]
        options += ["--change-section-vma", f".{section}={address:#x}"]
    subprocess.run(["objcopy", *options, STUB, target], check=True)
    shutil.rmtree(scratch)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
