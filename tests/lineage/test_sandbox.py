"""The sandbox: every attack is stopped, counted as a failure, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.lineage import confinement, sandbox
from rlhf_lab.lineage.sandbox import SandboxError, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")


def confined_processes() -> list[int]:
    """Whoever runs the sandbox's inside, descendants that took its command line along as well."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:  # it ended meanwhile
            continue
        if confinement.__file__.encode() in words and entry.name != str(os.getpid()):
            found.append(int(entry.name))
    return found


@pytest.fixture
def nothing_left(tmp_path, monkeypatch):
    """Temporary folders go to a place of our own, which has to be empty afterwards."""
    scratch, before = tmp_path / "scratch", set(confined_processes())
    scratch.mkdir()
    monkeypatch.setattr(sandbox.tempfile, "tempdir", str(scratch))
    yield scratch
    assert not list(scratch.iterdir())
    assert set(confined_processes()) <= before


def attack(source: str, **limits) -> sandbox.Outcome:
    outcome = run(textwrap.dedent(source), **limits)
    assert not outcome.passed
    return outcome


def test_a_program_runs_with_the_standard_library_and_prints(nothing_left):
    outcome = run(
        "import collections, datetime, functools, hashlib, heapq, itertools, math, os, random, re\n"
        "import statistics, string, subprocess, tempfile, threading, typing\n"
        "print(math.factorial(5), os.listdir('.'), sorted(os.environ), __name__)\n"
        "assert open('/dev/null').read() == ''"
    )
    assert outcome.passed
    assert outcome.output.startswith("120 [] ")  # an empty folder
    assert outcome.output.endswith("__main__\n")
    assert not [name for name in ("HOME", "PATH", "RLHF") if name in outcome.output]


def test_neither_the_package_nor_site_packages_are_in_reach():
    assert "No module named 'rlhf_lab'" in attack("import rlhf_lab").detail
    assert "No module named 'torch'" in attack("import torch").detail
    assert "No module named 'sandbox'" in attack("import sandbox").detail  # the file beside it


@pytest.mark.parametrize(
    ("source", "verdict", "detail"),
    [
        ("assert 1 + 1 == 3, 'no'", "wrong", "AssertionError: no"),
        ("1 / 0", "error", "ZeroDivisionError: division by zero"),
        ("def f(:", "error", "SyntaxError: invalid syntax"),
        ("x = '\0'", "error", "SyntaxError"),
        ("f = lambda: f()\nf()", "error", "RecursionError"),
        # Whoever leaves before the tests has not passed them.
        ("import sys\nsys.exit(0)", "left", "SystemExit: 0"),
        ("import os\nos._exit(0)", "left", "exit status 0"),
        ("raise KeyboardInterrupt", "error", "KeyboardInterrupt"),
    ],
)
def test_verdicts(source, verdict, detail, nothing_left):
    outcome = attack(source)
    assert outcome.verdict == verdict
    assert detail in outcome.detail


def test_an_infinite_loop_and_a_sleep_are_ended(nothing_left):
    assert attack("while True: pass", seconds=1, patience=60).verdict == "time"
    assert attack("import time\ntime.sleep(1000)", patience=1).verdict == "time"
    stubborn = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    assert attack(stubborn, seconds=1, patience=60).verdict in ("left", "time")


@pytest.mark.parametrize("source", ["[0] * 10**11", "bytearray(10**11)", "'a' * 10**11"])
def test_a_huge_allocation_fails(source, nothing_left):
    assert attack(source).verdict == "memory"


def test_memory_that_grows_fails(nothing_left):
    grow = "x = []\nwhile True: x.append(bytes(10**6))"
    assert attack(grow, memory_mb=128).verdict == "memory"


FORK = """
    import os
    if os.fork() == 0:
        while True: pass
"""
BOMB = """
    import os
    while True:
        try: os.fork()
        except OSError: pass
"""
OUTLIVE = """
    import subprocess, sys
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
"""
DAEMON = """
    import os, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
"""


@pytest.mark.parametrize("source", [FORK, BOMB, OUTLIVE, DAEMON, "import os\nos.system('true')"])
def test_no_process_is_made(source, nothing_left):
    outcome = attack(source)
    assert (outcome.verdict, outcome.detail.split(":")[0]) == ("forbidden", "process")


@pytest.mark.parametrize("caught", [False, True])
def test_no_file_is_written(caught, nothing_left):
    """Not even when the program does not mind."""
    victim = nothing_left.parent / "victim"
    victim.write_text("as it was")
    for line in (
        f"open({str(victim)!r}, 'w').write('x')",
        f"open({str(victim)!r}, 'r+').write('x')",
        "open('here', 'x')",
        f"import os; os.remove({str(victim)!r})",
        f"import os; os.open({str(victim)!r}, os.O_RDONLY | os.O_TRUNC)",
        f"import os; os.rename({str(victim)!r}, 'b')",
        f"import os; os.chmod({str(victim)!r}, 0)",
        "import os; os.mkdir('here')",
        "import tempfile; tempfile.mkdtemp()",
        f"import shutil; shutil.rmtree({str(victim.parent)!r})",
    ):
        source = f"try:\n    {line}\nexcept BaseException: pass" if caught else line
        outcome = attack(source)
        assert (outcome.verdict, outcome.detail.split(":")[0]) == ("forbidden", "file"), line
    assert victim.read_text() == "as it was"


def test_no_network(nothing_left):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        for line in (
            f"socket.create_connection(('127.0.0.1', {port}))",
            "socket.socket(socket.AF_UNIX)",
            "socket.getaddrinfo('example.org', 80)",
        ):
            outcome = attack(f"import socket\n{line}")
            assert (outcome.verdict, outcome.detail.split(":")[0]) == ("forbidden", "network")
        with pytest.raises(BlockingIOError):  # nobody called
            server.accept()


def test_output_is_bounded(nothing_left):
    outcome = attack("while True: print('x' * 1000)")
    assert outcome.verdict == "output"
    assert len(outcome.output) == sandbox.OUTPUT
    assert attack("import os\nwhile True: os.write(2, b'x' * 10**6)").verdict == "output"
    whole = run(f"print('x' * {sandbox.OUTPUT - 1})")
    assert whole.passed
    assert len(whole.output) == sandbox.OUTPUT


def test_a_report_that_is_flooded_is_no_report(nothing_left):
    flood = """
        import os
        for descriptor in range(3, 32):
            try:
                while True: os.write(descriptor, b"x" * 1000)
            except OSError: pass
    """
    assert attack(flood).verdict == "output"


def unguarded(source: str) -> str:
    """What the kernel alone says: a process that is confined, without the guard."""
    start = "import sys, os\nfrom rlhf_lab.lineage.confinement import confine\nimport ctypes\n"
    confined = "libc = ctypes.CDLL(None)\nconfine(5, 2**30, os.getppid())\n"
    tried = f"try:\n    print({source})\nexcept OSError as error:\n    print(type(error).__name__)"
    root = str(Path(confinement.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", start + confined + tried],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}, check=False,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("os.fork()", "PermissionError"),
        ("libc.fork()", "-1"),
        ("libc.execv(b'/bin/true', None)", "-1"),
        ("os.execv('/bin/true', ['true'])", "PermissionError"),
        ("libc.socket(2, 1, 0)", "-1"),
        ("libc.open(b'victim', os.O_WRONLY | os.O_CREAT)", "-1"),
        ("libc.unlink(b'/tmp')", "-1"),
        ("os.kill(os.getppid(), 0)", "PermissionError"),
        ("libc.kill(os.getppid(), 0)", "-1"),
        ("libc.ptrace(16, os.getppid(), 0, 0)", "-1"),
        ("libc.mount(None, None, None, 0, None)", "-1"),
        ("libc.syscall(425, 1, 0)", "-1"),  # io_uring, which would open files for it
        ("os.setsid()", "PermissionError"),
        ("__import__('resource').setrlimit(7, (9, 9))", "PermissionError"),
        ("os.getpid() > 0", "True"),
        ("open('/proc/self/status').readline()[:4]", "Name"),
    ],
)
def test_the_kernel_refuses_without_the_guard_as_well(source, said):
    assert unguarded(source) == said


def test_the_filter_is_what_its_tables_say():
    """Run by a plain interpreter of classic BPF, for each machine and many calls."""
    import struct

    def decide(code: bytes, number: int, architecture: int, argument: int) -> bool:
        rows = [struct.unpack_from("HBBI", code, i) for i in range(0, len(code), 8)]
        data = struct.pack("<II8x6Q", number, architecture, *[argument] * 6)
        place, value = 0, 0
        while True:
            kind, true, false, k = rows[place]
            place += 1
            if kind == 0x06:
                return k == 0x7FFF0000
            if kind == 0x20:
                value = struct.unpack_from("<I", data, k)[0]
            else:
                place += true if (value == k if kind == 0x15 else value & k) else false

    for machine, (column, architecture) in confinement.MACHINES.items():
        code = confinement.bpf(machine)
        free = {numbers[column] for numbers in confinement.ALLOWED.values()} - {-1}
        some = {n[column] for n, _, _ in confinement.CONDITIONAL.values()} - {-1}
        for number in range(600):
            assert decide(code, number, architecture, os.O_RDONLY) == (number in free | some)
            writing = decide(code, number, architecture, os.O_RDWR | os.O_CREAT)
            assert writing == (number in free)
            assert not decide(code, number, architecture ^ 1, 0)
            assert not decide(code, number | 0x40000000, architecture, 0)  # x86-64's other table


@pytest.mark.parametrize(
    ("limits", "argument"),
    [({"seconds": 0}, "seconds"), ({"memory_mb": 1}, "memory_mb"), ({"patience": 0}, "patience")],
)
def test_limits_that_are_none(limits, argument):
    with pytest.raises(InputError) as error:
        run("pass", **limits)
    assert error.value.argument == argument


def test_elsewhere_it_says_so(monkeypatch):
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="darwin.*Linux container"):
        run("pass")


def test_a_kernel_that_refuses_is_an_error_and_no_verdict(tmp_path, monkeypatch):
    """As on a machine without a table."""
    source = Path(confinement.__file__).read_text().replace('"x86_64"', '"a"')
    other = tmp_path / "confinement.py"
    other.write_text(source.replace('"aarch64"', '"b"'))
    monkeypatch.setattr(confinement, "__file__", str(other))
    with pytest.raises(SandboxError, match="no table of system calls"):
        run("pass")


def test_it_dies_with_whoever_started_it(tmp_path):
    """A test runner that is killed leaves no program behind."""
    root = str(Path(confinement.__file__).parents[2])
    starter = "from rlhf_lab.lineage.sandbox import run; run('import time; time.sleep(1000)')"
    before = set(confined_processes())
    runner = subprocess.Popen(
        [sys.executable, "-c", starter],
        env={**os.environ, "PYTHONPATH": root, "TMPDIR": str(tmp_path)},
    )
    while not (mine := set(confined_processes()) - before):
        assert runner.poll() is None
    runner.kill()
    runner.wait()
    while mine & set(confined_processes()):  # the kernel's signal may take a moment
        pass
