"""The sandbox: every attack is stopped, counted as a failure, and leaves nothing behind."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import textwrap
import time
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
    left, until = set(confined_processes()) - before, time.monotonic() + 20
    while left and time.monotonic() < until:  # of another test process, perhaps: those end
        time.sleep(0.1)
        left &= set(confined_processes())
    assert not left


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
        ("class C:\n    def __str__(self): 1 / 0\nraise SystemExit(C())", "left", "SystemExit"),
        ("raise KeyboardInterrupt", "error", "KeyboardInterrupt"),
        ("raise ValueError('x' * 10**8)", "error", "ValueError: xxx"),
        ("class E(Exception):\n    def __str__(self): exit()\nraise E", "error", "E: <exception"),
        ("raise ValueError('\\ud800')", "error", "ValueError: \\ud800"),
        ("x = '\ud800'", "error", "UnicodeEncodeError"),
        ("import threading\nthreading.Thread(target=print).start()", "error", "new thread"),
        ("import signal\nsignal.setitimer(0, 0.01)\nwhile True: pass", "crashed", "SIGALRM"),
    ],
)
def test_verdicts(source, verdict, detail, nothing_left):
    outcome = attack(source)
    assert outcome.verdict == verdict
    assert detail in outcome.detail


@pytest.mark.parametrize("end", ["assert False", "import os; os._exit(0)", "open('x', 'w')"])
def test_what_a_failing_program_printed_is_there(end):
    assert attack(f"print('so far')\n{end}").output == "so far\n"


def test_a_program_that_takes_its_output_away_passes():
    assert run("import sys\nprint('x')\nsys.stdout = None").output == "x\n"
    assert run("import sys\nsys.stdout = None").passed


def test_an_infinite_loop_and_a_sleep_are_ended(nothing_left):
    started = time.monotonic()
    assert attack("while True: pass", seconds=1, patience=300).verdict == "time"
    assert time.monotonic() - started < 150  # by processor time, long before the clock's limit
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
    assert attack(f"print('x' * {sandbox.OUTPUT})").verdict == "output"  # with the line's end
    whole = run(f"print('x' * {sandbox.OUTPUT - 1})")
    assert whole.passed
    assert len(whole.output) == sandbox.OUTPUT


def test_a_report_that_is_flooded_is_no_report(nothing_left):
    flood = """
        import os
        for descriptor in range(3, 1024):
            try:
                while True: os.write(descriptor, b"x" * 1000)
            except OSError: pass
    """
    assert attack(flood).verdict == "output"


@pytest.mark.parametrize(
    "text",
    [b"1", b"[]", b"{}", b"[" * 60_000, b"\xff", b"unavailable x", b"\nunavailable x\n", b"un"],
)
def test_a_forged_report_is_no_more_than_a_verdict(text):
    """It neither raises an error in whoever asked nor says that there is no sandbox."""
    forge = f"""
        import os
        for descriptor in range(3, 1024):
            try: os.write(descriptor, {text[:9]!r} * {max(1, len(text) // 9)})
            except OSError: pass
    """
    assert attack(forge).verdict == "left"


def test_a_guard_that_is_taken_off_leaves_the_filter(nothing_left):
    victim = nothing_left.parent / "victim"
    off = f"""
        import os
        os.write, os._exit = lambda *_: 0, lambda _: None
        try: open({str(victim)!r}, "w")
        except PermissionError: print("held")
    """
    assert run(textwrap.dedent(off)).output == "held\n"
    assert not victim.exists()


def landlock() -> bool:
    return ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) >= 1


@pytest.mark.skipif(sys.platform != "linux" or not landlock(), reason="a kernel without Landlock")
@pytest.mark.parametrize("name", ["environ", "mem", "maps", "fd/0"])
def test_other_processes_do_not_show_themselves(name):
    outcome = attack(f"import os\nopen(f'/proc/{{os.getppid()}}/{name}', 'rb')")
    assert (outcome.verdict, outcome.detail.split(":")[0]) == ("error", "PermissionError")


def test_it_leaves_no_core():
    """Neither a file nor, dumpable being 0, one for a program of the machine."""
    allow = "from rlhf_lab.lineage import confinement\nconfinement.ALLOWED['prctl'] = (157, 167)\n"
    assert unguarded("libc.prctl(3, 0, 0, 0, 0)", allow) == "0"


def unguarded(source: str, before: str = "") -> str:
    """What the kernel alone says: a process that is confined, without the guard."""
    start = "import sys, os\nfrom rlhf_lab.lineage.confinement import confine\nimport ctypes\n"
    start += before
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
        ("libc.syscall(310, os.getppid(), 0, 0, 0, 0, 0)", "-1"),  # process_vm_readv
        ("libc.prctl(1, 0, 0, 0, 0)", "-1"),  # outlive the parent
        (
            "__import__('signal').pthread_kill(__import__('threading').get_ident(), 0)",
            "PermissionError",
        ),
        ("os.memfd_create('a')", "PermissionError"),
        ("os.mkfifo('a')", "PermissionError"),
        ("os.pipe()", "PermissionError"),
        ("libc.madvise(None, 0, 4)", "0"),
        ("libc.madvise(None, 0, 100)", "-1"),
        ("os.setsid()", "PermissionError"),
        ("__import__('resource').setrlimit(7, (9, 9))", "PermissionError"),
        ("os.getpid() > 0", "True"),
        ("open('/proc/self/status').readline()[:4]", "Name"),
        # Of root's capabilities those stay that read: bits 1 and 2.
        (
            "[int(r[8:], 16) & ~6 for r in open('/proc/self/status') if r[:4] in ('CapE', 'CapP')]",
            "[0, 0]",
        ),
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
            assert not decide(code, number, architecture, 100) or number in free  # poisoned pages
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


def test_it_can_be_imported_where_there_are_no_limits():
    """On Windows, which has no module resource, it is the call that fails, as elsewhere."""
    program = """
        import sys
        sys.modules["resource"] = None
        from rlhf_lab.lineage import sandbox
        sys.platform = "win32"
        try: sandbox.run("pass")
        except sandbox.SandboxError: print("said so")
    """
    root = str(Path(confinement.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}, check=False,
    )  # fmt: skip
    assert done.stdout == "said so\n", done.stderr


def test_a_sandbox_that_does_not_begin_is_an_error_and_no_verdict():
    with pytest.raises(SandboxError, match="OverflowError"):
        run("pass", memory_mb=2**60)


def test_a_kernel_that_refuses_is_an_error_and_no_verdict(tmp_path, monkeypatch):
    """As on a machine without a table."""
    source = Path(confinement.__file__).read_text().replace('"x86_64"', '"a"')
    other = tmp_path / "confinement.py"
    other.write_text(source.replace('"aarch64"', '"b"'))
    monkeypatch.setattr(sandbox, "INSIDE", other)
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
