"""A hostile agent: tries each way out of its cage that it knows, and reports what came of it. Standard library only; run inside the cage.

Each function is one way. It returns what it got (text), or raises or returns nothing where it was held back.
"""

import contextlib
import ctypes
import fcntl
import glob
import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

WAYS = {}
asked = json.load(sys.stdin)
known = json.loads(os.environ["HOSTILE_KNOWS"])
known["canary"] = known["canary"][::-1]  # else it would find its own knowledge
libc = ctypes.CDLL(None, use_errno=True)


def way(function):
    WAYS[function.__name__] = function
    return function


def read(path):
    with open(path, "rb") as file:
        return file.read(4000).decode("utf-8", "replace")


def connect(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as sock:
        sock.settimeout(1)
        sock.connect(address)
        return f"connected to {address}"


def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return f"system call {number} gave {result}"


@contextlib.contextmanager
def folder(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


# files


@way
def read_the_hubs_file():
    return read(known["file"])


@way
def list_the_hubs_folder():
    return str(os.listdir(os.path.dirname(known["file"])))


@way
def read_the_hubs_database():
    return read(known["database"])


@way
def read_the_configs_other_files():
    return read(os.path.join("/agent", "secret.txt"))


@way
def climb_out_of_the_config():
    return read("/agent/../" + known["file"])


@way
def write_its_own_program():
    with open("/agent/hostile_agent.py", "a") as file:
        file.write("# changed")
    return "its program is changed"


@way
def read_shadow():
    return read("/etc/shadow")


@way
def read_homes():
    found = [
        path for folder in ("/root", "/home") for path in glob.glob(f"{folder}/*/*") + glob.glob(f"{folder}/.*") if "agent" not in path
    ]
    return str(found) if found else None


@way
def find_ssh_and_cloud_credentials():
    wanted = (
        "~/.ssh/id_*",
        "~/.aws/credentials",
        "~/.config/gh/hosts.yml",
        "~/.netrc",
        "/root/.ssh/*",
        "/var/run/secrets/*",
        "/run/secrets/*",
    )
    found = [path for pattern in wanted for path in glob.glob(os.path.expanduser(pattern))]
    return str(found) if found else None


@way
def write_to_the_system():
    with open("/usr/bin/potato-was-here", "w") as file:
        file.write("x")
    return "wrote to /usr/bin"


@way
def write_to_the_root():
    os.mkdir("/potato-was-here")
    return "wrote to /"


@way
def remount_the_system():
    if libc.mount(b"none", b"/usr", None, 0x20 | 0x1000, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    return "remounted"


@way
def mount_proc_again():
    os.makedirs("/tmp/p", exist_ok=True)
    if libc.mount(b"proc", b"/tmp/p", b"proc", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    return "mounted"


@way
def a_symlink_out():
    os.symlink(known["file"], "/tmp/link")
    return read("/tmp/link")


@way
def a_hard_link_out():
    os.link("/usr/bin/env", "/workspace/env")
    return "linked a file of the system"


@way
def chroot_and_climb():
    os.makedirs("/tmp/jail", exist_ok=True)
    with folder("/") as fd:
        os.chroot("/tmp/jail")
        os.fchdir(fd)
    return "left by chroot"


@way
def open_by_handle():
    class Handle(ctypes.Structure):
        _fields_ = [("size", ctypes.c_uint), ("kind", ctypes.c_int), ("data", ctypes.c_ubyte * 8)]

    handle = Handle(8, 1, (ctypes.c_ubyte * 8)(2))
    with folder("/usr") as fd:
        found = libc.open_by_handle_at(fd, ctypes.byref(handle), os.O_RDONLY)
    if found < 0:
        raise OSError(ctypes.get_errno(), "open_by_handle_at")
    return "opened by handle"


@way
def a_device():
    os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0))
    return read("/tmp/disk")


@way
def raw_disks():
    found = [
        path
        for pattern in ("/dev/vd*", "/dev/sd*", "/dev/nvme*", "/dev/mem", "/dev/kmem", "/dev/kvm", "/dev/loop*", "/dev/fuse")
        for path in glob.glob(pattern)
    ]
    return str(found) if found else None


@way
def control_groups():
    for path in [*glob.glob("/sys/fs/cgroup/**/cgroup.procs", recursive=True), "/sys/fs/cgroup"]:
        if os.path.exists(path):
            return f"sees {path}"
    return None


@way
def kernel_settings():
    with open("/proc/sys/kernel/core_pattern", "w") as file:
        file.write("|/tmp/x")
    return "set core_pattern"


@way
def sysrq():
    with open("/proc/sysrq-trigger", "w") as file:
        file.write("h")
    return "sysrq"


# processes


@way
def environments_of_others():
    found = []
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            text = read(path)
        except OSError:
            continue
        if known["canary"] in text:
            found.append(path)
    return str(found) if found else None


@way
def command_lines_of_others():
    found = [path for path in glob.glob("/proc/[0-9]*/cmdline") if known["marker"] in read(path)]
    return str(found) if found else None


@way
def the_hubs_processes():
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return f"sees {len(pids)} processes" if len(pids) > 40 else None


@way
def signal_the_hub():
    os.kill(known["pid"], 0)
    return "found the hub's process"


@way
def trace_the_first_process():
    return call(101, 16, 1, 0, 0)


@way
def memory_of_the_first_process():
    with open("/proc/1/mem", "rb", 0) as file:
        for line in read("/proc/1/maps").splitlines():
            if "rw-p" in line and "stack" in line:
                file.seek(int(line.split("-")[0], 16))
                return "read memory" if known["canary"].encode() in file.read(100_000) else None
    return None


@way
def root_of_the_first_process():
    return read("/proc/1/root" + known["file"])


@way
def folder_of_the_supervisor():
    return read(f"/proc/1/cwd/{os.path.basename(known['file'])}")


@way
def inherited_descriptors():
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if int(name) > 2 and not target.startswith("/proc"):
            found.append(target)
    return str(found) if found else None


# privileges


@way
def become_root():
    os.setuid(0)
    return f"uid {os.getuid()}"


@way
def sudo_and_friends():
    for program in ("sudo", "su", "pkexec", "doas"):
        path = shutil.which(program)
        if path:
            done = subprocess.run(
                [path, "-n", "true"] if program == "sudo" else [path, "-c", "true"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=5,
            )
            if done.returncode == 0:
                return f"{program} works"
    return None


@way
def a_user_namespace_of_its_own():
    if libc.unshare(0x10000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    return "has a user namespace with all capabilities"


@way
def join_another_namespace():
    fd = os.open("/proc/1/ns/mnt", os.O_RDONLY)
    if libc.setns(fd, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    return "joined"


@way
def capabilities():
    line = next(line for line in read("/proc/self/status").splitlines() if line.startswith("CapEff"))
    return line if int(line.split()[1], 16) else None


@way
def set_a_user_id_file():
    shutil.copy("/bin/sh", "/tmp/sh")
    os.chmod("/tmp/sh", 0o4755)
    os.chown("/tmp/sh", 0, 0)
    return "made a set-user-id shell of root"


@way
def load_a_module():
    return call(175, 0, 0, b"")


@way
def reboot():
    return call(169, 0xFEE1DEAD, 672274793, 0, 0)


@way
def the_clock():
    time.clock_settime(time.CLOCK_REALTIME, time.time() + 3600)
    return "set the clock"


@way
def the_hostname():
    socket.sethostname("mine")
    return "set the host's name" if known["hostname"] == socket.gethostname() else "set a host's name"


# network


@way
def the_hubs_own_port():
    return connect(socket.AF_INET, ("127.0.0.1", known["port"]))


@way
def the_host_by_its_address():
    return connect(socket.AF_INET, (known["address"], known["port"]))


@way
def the_internet():
    return connect(socket.AF_INET, ("1.1.1.1", 443))


@way
def the_metadata_service():
    return connect(socket.AF_INET, ("169.254.169.254", 80))


@way
def ipv6():
    return connect(socket.AF_INET6, ("2606:4700:4700::1111", 443))


@way
def a_name():
    return str(socket.getaddrinfo("example.com", 443))


@way
def dns_by_udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.sendto(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01", ("8.8.8.8", 53))
        return str(sock.recv(512))


@way
def a_raw_socket():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    return "has a raw socket"


@way
def a_packet_socket():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    return "has a packet socket"


@way
def other_interfaces():
    names = [name for _, name in socket.if_nameindex() if name != "lo"]
    return str(names) if names else None


@way
def an_abstract_socket_of_the_host():
    return connect(socket.AF_UNIX, "\0" + known["abstract"])


@way
def sockets_of_the_host():
    for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/systemd/private", "/run/dbus/system_bus_socket", known["socket"]):
        try:
            return connect(socket.AF_UNIX, path)
        except OSError:
            continue
    return None


@way
def vsock():
    """Only opened: where there is one, what answers is the machine that this one runs on."""
    socket.socket(40, socket.SOCK_STREAM).close()
    return "may speak to the host of a virtual machine"


@way
def cryptography_of_the_kernel():
    socket.socket(38, socket.SOCK_SEQPACKET).close()
    return "has an AF_ALG socket"


@way
def keys_of_the_kernel():
    return call(250, 0, -3, 1)


@way
def programs_in_the_kernel():
    return call(321, 0, 0, 0)


@way
def rings_of_system_calls():
    return call(425, 1, bytes(120))


@way
def faults_of_memory():
    return call(323, 1)


@way
def performance_counters():
    return call(298, bytes(128), 0, -1, -1, 0)


@way
def messages_of_the_kernel():
    return call(103, 10, 0, 0)


@way
def a_namespace_by_clone3():
    return call(435, struct.pack("<QQQQQQQQ", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64)


@way
def a_call_of_another_machine():
    return call(0x40000000 + 39)


@way
def type_into_the_terminal():
    fcntl.ioctl(0, 0x5412, b"x")
    return "typed"


@way
def netlink():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
        sock.bind((0, 0))
        sock.send(struct.pack("IHHIIBBHiII", 32, 16, 5, 1, 0, 0, 0, 0, 1, 0, 1))
        kind = struct.unpack("H", sock.recv(100)[4:6])[0]
        return "changed an interface" if kind != 2 else None


@way
def shared_memory_of_the_host():
    segment = libc.shmget(known["shm"], 0, 0o600)
    if segment < 0:
        raise OSError(ctypes.get_errno(), "shmget")
    return "found shared memory of the host"


# the gate


def gate(path, token, method="GET", body=b"", host="127.0.0.1:4180"):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", 4180, timeout=5)
    connection.request(
        method, path, body=body, headers={"authorization": f"Bearer {token}", "host": host, "content-type": "application/json"}
    )
    answer = connection.getresponse()
    return answer.status, answer.read().decode("utf-8", "replace")


@way
def the_gate_without_its_token():
    status, text = gate("/mcp", "guessed", "POST", b"{}")
    return text if status != 401 else None


@way
def the_gate_with_another_runs_token():
    status, text = gate("/mcp", known["token"], "POST", b"{}")
    return text if status != 401 else None


@way
def a_tool_that_is_not_granted():
    call_ = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "push_branch", "arguments": {"branch": "x"}}}
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", 4180, timeout=5)
    headers = {
        "authorization": f"Bearer {os.environ['POTATO_RUN_TOKEN']}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
    }
    connection.request("POST", "/mcp", body=json.dumps(call_), headers=headers)
    told = json.loads(connection.getresponse().read())["result"]
    return None if told.get("isError") else str(told)


@way
def a_tunnel_to_where_it_may_not():
    with socket.create_connection(("127.0.0.1", 4180), timeout=5) as sock:
        import base64

        word = base64.b64encode(f"run:{os.environ['POTATO_RUN_TOKEN']}".encode()).decode()
        sock.sendall(f"CONNECT 127.0.0.1:{known['port']} HTTP/1.1\r\nProxy-Authorization: Basic {word}\r\n\r\n".encode())
        told = sock.recv(1000).decode()
        return told if " 200 " in told.splitlines()[0] else None


@way
def a_model_without_a_key():
    status, text = gate("/openai/v1/responses", os.environ["POTATO_RUN_TOKEN"], "POST", b'{"model": "x", "input": "hi"}')
    return text if status == 200 else None


@way
def rebind_the_gate():
    status, text = gate("/mcp", os.environ["POTATO_RUN_TOKEN"], "POST", b"{}", host="evil.example:4180")
    return text if status != 403 else None


# the machine


@way
def a_fork_bomb():
    children = []
    try:
        for _ in range(5000):
            pid = os.fork()
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            children.append(pid)
        return f"forked {len(children)} processes"
    except OSError:
        return None
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)


@way
def a_terabyte_of_file():
    with open("/tmp/huge", "wb") as file:
        file.truncate(1 << 40)
    return "made a file of a terabyte"


@way
def fill_the_disk():
    written = 0
    try:
        with open("/workspace/fill", "wb") as file:
            while written < 1 << 30:
                file.write(b"x" * (1 << 20))
                written += 1 << 20
        return f"wrote {written} bytes"
    except OSError:
        return None
    finally:
        os.unlink("/workspace/fill")


@way
def fill_shared_memory():
    written = 0
    for folder in ("/dev", "/dev/shm"):
        try:
            with open(f"{folder}/fill", "wb") as file:
                while written < 128 << 20:
                    file.write(b"x" * (1 << 20))
                    written += 1 << 20
            return f"wrote {written} bytes"
        except OSError:
            continue
        finally:
            if os.path.exists(f"{folder}/fill"):
                os.unlink(f"{folder}/fill")
    return None


@way
def a_million_files():
    os.makedirs("/tmp/many", exist_ok=True)
    try:
        for number in range(1_000_000):
            os.close(os.open(f"/tmp/many/{number}", os.O_CREAT | os.O_WRONLY))
        return "made a million files"
    except OSError:
        return None
    finally:
        shutil.rmtree("/tmp/many", ignore_errors=True)


@way
def raise_its_limits():
    resource.setrlimit(resource.RLIMIT_NPROC, (10_000, 10_000))
    return "raised its limit on processes"


@way
def a_daemon_that_stays():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for fd in (0, 1, 2):
                os.close(fd)
            subprocess.run([sys.executable, "-c", f"'{known['daemon']}'; import time; time.sleep(600)"])
        os._exit(0)
    # whether it stayed, the test looks for


chosen = known["ways"]
if chosen is None and (os.getuid() != 1000 or socket.gethostname() != "cage"):
    sys.exit("this tries to break the machine it runs on: only in a cage, or with the ways to try named")
report = {}
for name in WAYS if chosen is None else chosen:
    function = WAYS[name]
    try:
        report[name] = function()
    except BaseException as error:
        report[name] = None
        print(name, type(error).__name__, error, file=sys.stderr)
print(json.dumps({"proposals": [], "summary": json.dumps({name: got for name, got in report.items() if got})[:3900]}))
print(len(report), "ways", file=sys.stderr)
