"""Control groups of version 2, as a service manager lays them out, by the kernel that Debian 12 comes with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support import machine

ROOT = Path(__file__).resolve().parents[2]
GROUPS = "/sys/fs/cgroup"
PREPARE = f"""
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/run TMPDIR=/run LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
export PYTHONPATH={ROOT}/src:{ROOT}/tests
for group in {GROUPS} {GROUPS}/system.slice; do mkdir -p $group; echo "+memory +pids +cpu" > $group/cgroup.subtree_control; done
cd {ROOT}
try() {{
    service={GROUPS}/system.slice/$1
    mkdir $service
    if [ "$2" ]; then {sys.executable} -c "import os; os.setxattr('$service', '$2.delegate', b'1')"; fi
    if [ "$2" = user ]; then chown -R nobody $service; as="setpriv --reuid=nobody --regid=nogroup --clear-groups"; fi
    sh -c "echo \\$\\$ > $service/cgroup.procs
        exec $as {sys.executable} -m pytest -c /dev/null -o asyncio_mode=auto -o pythonpath=tests --rootdir=tests --import-mode=importlib \\
            --noconftest -p pytest_asyncio.plugin -p no:cacheprovider -q --color=no tests/security/test_cgroups.py" 2>&1
    echo made: $(cd {GROUPS}; find * -name "potato*")
    find {GROUPS} -depth -name "potato*" -exec rmdir {{}} +
}}
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_groups_are_made_where_a_service_manager_allows_it(tmp_path: Path) -> None:
    """By root beside its services, by root in one that is left to it, and so by a user; never in one that is not."""
    why = machine.missing()
    if why:
        pytest.skip(why)
    reachable = "".join(f"chmod o+x {folder}\n" for path in (Path(sys.executable).resolve(), ROOT / "x") for folder in path.parents)
    told = machine.run(f"{PREPARE}try beside\ntry left trusted\n{reachable}try users user\n", tmp_path, 500)
    assert told.count("6 passed") == 3, told
    made = [line.partition(": ")[2] for line in told.splitlines() if line.startswith("made: ")]
    assert made == ["potato", "system.slice/left/potato.hub", "system.slice/users/potato.hub"], told
