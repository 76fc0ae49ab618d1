"""Run a program that a model wrote, and learn whether it came to its end.

A program of unknown intent gets a process of its own with nothing in it: an empty folder, none of
your environment, no input, and a kernel that refuses to open files for writing, to make processes
or threads, to send signals and to make sockets (see :mod:`rlhf_lab.lineage.confinement`). Time,
memory and output are bounded.

What this is no protection against. A program can *read* every file that you can, and print what it
reads into :attr:`Outcome.output`; on a machine with secrets, use a user without them. Among these
files are those of ``/proc``: where the kernel has no Landlock (before Linux 5.13, or switched off)
they show the environment of your other processes, and may show their memory. A device or a pipe can
be opened for reading, too, and may notice. The program can find the tests, which stand in its own
process, and make itself pass: a verdict is about programs that try, not about programs that cheat.
A hole in the kernel is a hole here. What has to hold against an attacker belongs in a virtual
machine; Chen et al. 2021 (arXiv 2107.03374, §2.3) used gVisor.

Linux on x86-64 or arm64, as root or as anyone, in a container or out of it. Elsewhere :func:`run`
raises :class:`SandboxError`; it never runs a program with less.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf_lab.errors import InputError

INSIDE = Path(__file__).with_name("confinement.py")  # run, never imported: Windows cannot
OUTPUT = 64 * 1024  # bytes that a program may print
REPORTED = ("passed", "wrong", "error", "left", "memory", "forbidden")


class SandboxError(RuntimeError):
    """This machine lacks what the sandbox is made of."""


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Attributes:
        verdict: "passed", it came to its end; "wrong", an assertion failed; "error", another
            exception; "left", it ended without a report, by itself or killed; "time", "memory" or
            "output", it went over a limit; "forbidden", it tried what is not allowed; "crashed", a
            signal ended it.
        detail: the last line of the exception, or what was tried.
        output: what it printed until then.
    """

    verdict: str
    detail: str = ""
    output: str = ""

    @property
    def passed(self) -> bool:
        """Whether the program came to its end by itself."""
        return self.verdict == "passed"


def run(
    program: str, *, seconds: int = 3, memory_mb: int = 512, patience: float | None = None
) -> Outcome:
    """Run Python code as ``__main__`` in a sandbox; only its end without an error passes.

    Args:
        program: source text. Of the libraries only Python's own are there.
        seconds: of processor time, whole; the start of the interpreter counts. A program that
            ignores the signal has one more.
        memory_mb: MiB of address space; below 64 no interpreter starts.
        patience: seconds by the clock; ten times ``seconds`` by default, so that a right program
            does not fail because the machine is busy.

    Raises:
        InputError: for a limit that is none.
        SandboxError: on a machine that has no such sandbox, or when it could not be set up.
    """
    if not (isinstance(seconds, int) and seconds >= 1):
        raise InputError("seconds", seconds, "whole seconds, 1 or more", "allow at least one")
    if memory_mb < 64:
        raise InputError("memory_mb", memory_mb, "64 or more", "allow the interpreter its own")
    patience = 10.0 * seconds if patience is None else patience
    if patience <= 0:
        raise InputError("patience", patience, "above 0", "wait for some seconds")
    if sys.platform != "linux":
        raise SandboxError(
            f"the sandbox needs Linux's seccomp, and this is {sys.platform}: "
            "run this in a Linux container or virtual machine, or on Colab"
        )
    with tempfile.TemporaryDirectory(prefix="sandbox-") as folder:
        return _run(program, seconds, memory_mb, patience, folder)


def _run(program: str, seconds: int, memory_mb: int, patience: float, folder: str) -> Outcome:
    receive, send = os.pipe()
    limits = (send, seconds, memory_mb * 2**20, os.getpid())
    # -S -s -P: no site-packages, nothing beside this file; -B: no bytecode is written;
    # -u: what was printed is not lost with a process that ends early.
    command = [sys.executable, "-S", "-s", "-P", "-B", "-u", str(INSIDE), *map(str, limits)]
    environment = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
    if "LD_LIBRARY_PATH" in os.environ:  # where some interpreters find themselves
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    with os.fdopen(receive, "rb") as reports:
        try:
            with tempfile.TemporaryFile() as source:
                source.write(program.encode("utf-8", "surrogatepass"))
                source.seek(0)
                process = subprocess.Popen(
                    command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    cwd=folder, env=environment, pass_fds=(send,), start_new_session=True,
                )  # fmt: skip
        finally:
            os.close(send)
        assert process.stdout is not None
        with process, process.stdout:
            try:
                printed, report, stopped = _listen(process.stdout, reports, patience)
            finally:
                process.kill()  # there is but one: it could not make another
            process.wait()
    output = printed.decode("utf-8", "replace")
    return _outcome(process.returncode, report, stopped, output)


def _listen(stdout: Any, reports: Any, patience: float) -> tuple[bytes, bytes, str]:
    """What comes until both pipes close, or a limit: (printed, report, limit or "")."""
    heard = {stdout: b"", reports: b""}
    deadline = time.monotonic() + patience
    with selectors.DefaultSelector() as waiting:
        for pipe in heard:
            waiting.register(pipe, selectors.EVENT_READ)
        while waiting.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return heard[stdout], heard[reports], "time"
            for key, _ in waiting.select(left):
                part = os.read(key.fd, OUTPUT)
                if not part:
                    waiting.unregister(key.fileobj)
                heard[key.fileobj] += part
                if len(heard[key.fileobj]) > OUTPUT:
                    return heard[stdout][:OUTPUT], b"", "output"
    return heard[stdout], heard[reports], ""


def _outcome(code: int, report: bytes, stopped: str, output: str) -> Outcome:
    if stopped:
        return Outcome(stopped, output=output)
    # The first line is written before the program runs: nothing that comes later, which may be
    # the program's own, can make it look as if there were no sandbox, or be more than a verdict.
    first, _, rest = report.decode("utf-8", "replace").partition("\n")
    if first != "confined":
        why = first.removeprefix("unavailable ") or output.strip().rpartition("\n")[2]
        raise SandboxError(
            f"the sandbox could not be set up ({why or f'exit status {code}'}): run this on Linux, "
            "x86-64 or arm64, in a container that allows seccomp (Docker's default does)"
        )
    verdict, _, detail = rest.partition(" ")
    if verdict in REPORTED:
        return Outcome(verdict, detail, output)
    if code == -signal.SIGXCPU:
        return Outcome("time", output=output)
    if code < 0 and code != -signal.SIGKILL:
        return Outcome("crashed", signal.Signals(-code).name, output)
    return Outcome("left", f"exit status {code}", output)
