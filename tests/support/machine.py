"""Another machine: Debian's own kernel in QEMU, over the files of this one, which it can read and not write.

Control groups of version 2 and what a service manager delegates are a whole machine's, and few who run tests have one to spare.
Nothing here needs root or hardware for virtual machines; it is some ten times slower than the machine itself.

Source: https://www.qemu.org/docs/master/system/invocation.html, https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

QEMU: Final = "qemu-system-x86_64"
UNPACKED: Final = Path(__file__).resolve().parents[2] / ".cache" / "debian" / "root"
MODULES: Final = (
    "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "netfs", "fscache", "9pnet", "9pnet_virtio",
    "9p", "overlay",
)  # fmt: skip
"""In the order in which they need each other."""

BEGIN: Final = b"-----begin-----"
END: Final = b"-----end-----"
INIT: Final = f"""#!/busybox sh
b=/busybox
$b mkdir /proc /sys /low /up /new
$b mount -t proc none /proc
$b mount -t sysfs none /sys
for name in {" ".join(MODULES)}; do [ -f /$name.ko ] && $b insmod /$name.ko; done
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose host /low
$b mount -t tmpfs none /up
$b mkdir /up/upper /up/work
$b mount -t overlay -o lowerdir=/low,upperdir=/up/upper,workdir=/up/work none /new
$b mount -t proc none /new/proc
$b mount -t sysfs none /new/sys
$b mount -t cgroup2 none /new/sys/fs/cgroup
$b mount -t devtmpfs none /new/dev
$b mkdir -p /new/dev/pts /new/dev/shm
$b mount -t devpts none /new/dev/pts
$b mount -t tmpfs -o mode=1777 none /new/dev/shm
$b mount -t tmpfs -o mode=1777 none /new/run
$b ifconfig lo 127.0.0.1 up
$b cp /script $b /new/run/
exec $b switch_root /new /bin/sh -c 'echo {BEGIN.decode()}; /bin/sh /run/script; echo {END.decode()}; /run/busybox poweroff -f'
"""


def missing() -> str | None:
    """Why no such machine can be had; nothing if it can."""
    if shutil.which(QEMU) is None:
        return f"{QEMU} is not installed"
    return None if _kernel() and _busybox() else "Debian's kernel is not here; python3 dev.py setup fetches it"


def run(script: str, folder: Path, timeout_s: float) -> str:
    """What a script of sh says there, as root; `/run` is empty and open to all. Raises `AssertionError` if it does not come to its end."""
    initial = folder / "initial.cpio"
    initial.write_bytes(_archive({"init": INIT.encode(), "script": script.encode(), "busybox": _busybox().read_bytes(), **_modules()}))
    command = (
        QEMU, "-accel", "tcg", "-cpu", "qemu64", "-smp", "2", "-m", "3G", "-nographic", "-no-reboot", "-nic", "none",
        "-kernel", str(_kernel()), "-initrd", str(initial), "-append", "console=ttyS0 quiet loglevel=1 panic=-1",
        "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
    )  # fmt: skip
    told = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False)
    said, ended, _ = told.stdout.partition(BEGIN)[2].partition(END)
    assert ended, (told.stdout[-4000:], told.stderr[-2000:])
    return said.decode("utf-8", "replace").replace("\r\n", "\n")


def _kernel() -> Path | None:
    return next(iter(sorted(UNPACKED.glob("boot/vmlinuz-*"))), None)


def _busybox() -> Path:
    return UNPACKED / "bin" / "busybox"


def _modules() -> dict[str, bytes]:
    found = {path.stem: path for path in sorted(UNPACKED.glob("lib/modules/*/kernel/**/*.ko"))}
    return {f"{name}.ko": found[name].read_bytes() for name in MODULES if name in found}


def _archive(files: dict[str, bytes]) -> bytes:
    """Executable files, as the kernel unpacks them into its first file system."""
    parts: list[bytes] = []
    for number, (name, content) in enumerate({**files, "TRAILER!!!": b""}.items()):
        fields = (number, 0o100755, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        parts += [head + b"\0" * (-len(head) % 4), content + b"\0" * (-len(content) % 4)]
    return b"".join(parts)
