"""The inside of the sandbox: a process gives up its rights, then runs a program and reports.

:mod:`rlhf_lab.lineage.sandbox` runs this file by its path in a fresh interpreter that sees nothing
of the package, so only the standard library is imported here. Two walls stand around the program.
The *filter* is the kernel's: system calls that are not listed fail, for Python, C and anything else
alike, and nothing can take it off again. The *guard* is Python's: it sees the attempts that Python
audits, so that the verdict can name them, and such an attempt counts even when the program would
catch the error. It names and does not hold: a program can take the interpreter apart that it runs
in, and then meets the filter. Where the kernel has Landlock, a third wall hides other processes.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any

# Numbers of the system calls that stay open: (x86-64, arm64), -1 where there is none.
ALLOWED = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "stat": (4, -1), "fstat": (5, 80),
    "lstat": (6, -1), "poll": (7, -1), "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226),
    "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "pread64": (17, 67), "readv": (19, 65), "writev": (20, 66),
    "access": (21, -1), "select": (23, -1), "sched_yield": (24, 124), "mremap": (25, 216),
    "dup": (32, 23), "nanosleep": (35, 101), "getitimer": (36, 102),
    "setitimer": (38, 103), "getpid": (39, 172), "exit": (60, 93), "uname": (63, 160),
    "getcwd": (79, 17), "readlink": (89, -1), "gettimeofday": (96, 169), "getrusage": (98, 165),
    "sysinfo": (99, 179), "times": (100, 153), "getuid": (102, 174), "getgid": (104, 176),
    "geteuid": (107, 175), "getegid": (108, 177), "getppid": (110, 173), "sigaltstack": (131, 132),
    "gettid": (186, 178), "time": (201, -1), "futex": (202, 98), "sched_getaffinity": (204, 123),
    "getdents64": (217, 61), "set_tid_address": (218, 96), "restart_syscall": (219, 128),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "exit_group": (231, 94), "newfstatat": (262, 79), "readlinkat": (267, 78),
    "faccessat": (269, 48), "pselect6": (270, 72), "ppoll": (271, 73),
    "set_robust_list": (273, 99), "getrandom": (318, 278), "statx": (332, 291),
    "rseq": (334, 293), "faccessat2": (439, 439),
}  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Open under a condition on one argument: its place, and the bits that must not be set.
# The kernel reads these three as 32 bits, and so does the filter.
CONDITIONAL = {
    "open": ((2, -1), 1, WRITING),
    "openat": ((257, 56), 2, WRITING),
    "fcntl": ((72, 25), 1, 0xFFFFFFFC),  # commands 0 to 3 read and copy, others steer
    "madvise": ((28, 233), 2, 0xFFFFFFE0),  # 100 and 101 would take pages from the machine
}
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column, audit architecture
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # instructions of classic BPF
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 13  # 13: EACCES
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER, _DIE_WITH_PARENT, _DUMPABLE = 38, 22, 2, 1, 4
_RULESET, _RESTRICT = 444, 446  # Landlock, on both machines
_CAPABILITIES, _READING = 0x20080522, 0b110  # the interface's version; to read as root can
_LANDLOCK_WRITES = 0x1FF2  # its first version's rights to write, to make and to remove

FORBIDDEN = {
    "process": ("os.fork", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.kill",
                "subprocess.", "pty.", "signal.pthread_kill"),
    "network": ("socket.",),
    "file": ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink",
             "os.truncate", "os.ch", "os.lchown", "os.utime", "os.setxattr", "os.removexattr",
             "shutil.", "tempfile."),
    "native code": ("ctypes.",),
}  # fmt: skip


def bpf(machine: str) -> bytes:
    """The filter as instructions for the kernel: what :data:`ALLOWED` lists passes.

    Raises:
        KeyError: for a machine whose numbers are not in the table.
    """
    column, architecture = MACHINES[machine]
    load_number = (_LOAD, 0, 0, 0)
    code = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _REFUSE), load_number]
    for numbers in ALLOWED.values():
        if numbers[column] >= 0:
            code += [(_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, _ALLOW)]
    for numbers, argument, bits in CONDITIONAL.values():
        if numbers[column] >= 0:
            code += [
                (_EQUAL, 0, 4, numbers[column]),
                (_LOAD, 0, 0, 16 + 8 * argument),
                (_ANY_BIT, 1, 0, bits),
                (_RETURN, 0, 0, _ALLOW),
                (_RETURN, 0, 0, _REFUSE),
            ]
    code.append((_RETURN, 0, 0, _REFUSE))
    return b"".join(struct.pack("HBBI", *one) for one in code)


def confine(seconds: int, memory: int, parent: int) -> None:
    """Give up what a program does not need; there is no way back.

    Args:
        seconds: of processor time; memory: bytes of address space.
        parent: the process with which this one ends.

    Raises:
        OSError: where the kernel refuses the filter, or the machine has no table.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _drop_capabilities(libc)
    libc.prctl(_DIE_WITH_PARENT, 9, 0, 0, 0)
    # A limit of 0 stops a core file, and not a core that is piped to some program of the machine.
    libc.prctl(_DUMPABLE, 0, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)
    for limit, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
        # The count is of all processes of a user, but none is allowed: that it can be
        # compared with. Root is exempt, so the filter has to refuse them as well.
        (resource.RLIMIT_NPROC, 0),
    ):
        hard = most + (limit == resource.RLIMIT_CPU)  # a second between signal and end
        given = resource.getrlimit(limit)[1]
        if given != resource.RLIM_INFINITY:  # who is limited already stays so
            most, hard = min(most, given), min(hard, given)
        resource.setrlimit(limit, (most, hard))
    machine = os.uname().machine
    if machine not in MACHINES or struct.calcsize("P") != 8:
        raise OSError(f"no table of system calls for {8 * struct.calcsize('P')}-bit {machine}")
    code = bpf(machine)
    text = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(text))
    refused = libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _hide_others(libc)
    if refused or libc.prctl(_SECCOMP, _FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Root is root no more, but for reading: its interpreter may lie in another user's folder."""
    header = struct.pack("II", _CAPABILITIES, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then of their upper halves
    libc.capget(header, held)
    kept = (ctypes.c_uint32 * 6)(held[0] & _READING, held[1] & _READING)
    libc.capset(header, kept)


def _hide_others(libc: ctypes.CDLL) -> None:
    """Close what ``/proc`` shows of other processes, where the kernel has Landlock.

    Whoever is under Landlock may trace, and so read the memory and environment of, only those who
    are as well. The rules themselves forbid to write, once more.
    """
    call = libc.syscall
    call.restype = ctypes.c_long
    call.argtypes = [ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]
    rights = ctypes.c_uint64(_LANDLOCK_WRITES)
    rules = call(_RULESET, ctypes.addressof(rights), ctypes.sizeof(rights), 0)
    if rules >= 0:
        call(_RESTRICT, rules, 0, 0)
        os.close(rules)


def attempt(event: str, arguments: tuple[Any, ...]) -> str:
    """What a program attempts by an audit event of Python that is forbidden, or ``""``."""
    if event == "open":
        flags = arguments[2]
        return "file: open" if isinstance(flags, int) and flags & WRITING else ""
    for what, names in FORBIDDEN.items():
        if event.startswith(names):
            return f"{what}: {event}"
    return ""


def guard(report: Callable[[str, str], None]) -> None:
    """End the process at the first forbidden attempt, with a report."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        found = attempt(event, arguments)
        if found:
            report("forbidden", found)
            os._exit(1)

    sys.addaudithook(hook)


def _reporter(descriptor: int) -> Callable[[str, str], None]:
    def report(verdict: str, detail: str) -> None:
        os.write(descriptor, f"{verdict} {detail[:400]}".encode("utf-8", "backslashreplace"))

    return report


def _run(program: str) -> tuple[str, str]:
    """The verdict on a program that comes to an end, and its last word."""
    try:
        code = compile(program, "<program>", "exec")
        exec(code, {"__name__": "__main__"})
    except MemoryError:
        return "memory", "MemoryError"
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the program's own
        last = traceback.format_exception_only(error)[-1].strip()
        kinds = {SystemExit: "left", AssertionError: "wrong"}
        return next((v for k, v in kinds.items() if isinstance(error, k)), "error"), last
    return "passed", ""


def main() -> None:
    """Take limits from the command line and a program from standard input, run, report."""
    descriptor, seconds, memory, parent = map(int, sys.argv[1:])
    report = _reporter(descriptor)
    program = sys.stdin.buffer.read().decode("utf-8", "surrogatepass")
    try:
        confine(seconds, memory, parent)
    except OSError as error:
        report("unavailable", str(error))
        os._exit(1)
    os.write(descriptor, b"confined\n")
    guard(report)
    report(*_run(program))
    os._exit(0)  # nothing that the program has left for the end is run


if __name__ == "__main__":
    main()
