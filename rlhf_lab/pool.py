"""A pool of processes for long tasks: no failure of one, not even its death, touches the others.

``concurrent.futures`` gives a pool up when one of its processes is killed, and leaves orphans when
the parent is. Here a task that fails or whose process dies is reported as such, a process that died
is replaced, and every process ends with its parent.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from rlhf_lab.runtime import Interrupt


@dataclass(frozen=True)
class Outcome:
    """What became of a task: done when ``error`` is empty, cut short by Ctrl-C, or failed."""

    task: Any
    error: str = ""
    interrupted: bool = False


def run_tasks(
    work: Callable[[Any], None],
    tasks: Sequence[Any],
    processes: int,
    interrupt: Interrupt,
    needs: Callable[[Any], Any] = lambda _task: None,
) -> Iterator[Outcome]:
    """Call ``work(task)`` for every task; outcomes come as they happen.

    Args:
        work: its results go to disk; picklable, and so are the tasks.
        tasks: hashable; one that others need comes before them.
        processes: fresh ones (spawned), each with one torch thread; 0 works in this process.
        interrupt: when it is requested no further task begins.
        needs: the task that must be done before, or None; if that one failed, so does this one.
    """
    waiting, done, failed = list(tasks), set(), dict[Any, str]()
    busy: dict[Connection, tuple[BaseProcess, Any]] = {}
    idle: list[tuple[Connection, BaseProcess]] = []
    try:
        while busy or (waiting and not interrupt.requested):
            for task in [t for t in waiting if needs(t) in failed]:
                waiting.remove(task)
                failed[task] = f"{needs(task)} failed: {failed[needs(task)]}"
                yield Outcome(task, failed[task])
            ready = [t for t in waiting if needs(t) is None or needs(t) in done]
            if interrupt.requested:
                ready = []
            outcomes = []
            if processes == 0:
                if ready:
                    waiting.remove(ready[0])
                    outcomes = [attempt(work, ready[0])]
            else:
                for task in ready[: processes - len(busy)]:
                    waiting.remove(task)
                    connection, process = idle.pop() if idle else _start(work)
                    connection.send(task)
                    busy[connection] = process, task
                for found in wait(list(busy)) if busy else []:
                    connection = next(c for c in busy if c is found)
                    process, task = busy.pop(connection)
                    outcome = _receive(connection, process, task)
                    if process.is_alive():
                        idle.append((connection, process))
                    outcomes.append(outcome)
            for outcome in outcomes:
                if outcome.error:
                    failed[outcome.task] = outcome.error
                elif not outcome.interrupted:
                    done.add(outcome.task)
                yield outcome
    finally:
        for process, _ in busy.values():  # only after an error or a second Ctrl-C
            process.terminate()
        for connection, process in idle:
            connection.close()  # it ends when it asks for its next task
            process.join()


@contextlib.contextmanager
def beside(work: Callable[[Any], None], tasks: Sequence[Any]) -> Iterator[list[Outcome]]:
    """Do ``tasks`` one after the other in another process while the body runs in this one.

    One thread of torch goes over to it. The list that is given fills when the body has ended and
    all tasks have; when the body fails, the process is ended at once.
    """
    outcomes: list[Outcome] = []
    threads = torch.get_num_threads()
    connection, process = _start(work)
    torch.set_num_threads(max(1, threads - 1))
    try:
        for task in tasks:
            connection.send(task)
        yield outcomes
        outcomes += [_receive(connection, process, task) for task in tasks]
    except BaseException:
        process.terminate()
        raise
    finally:
        torch.set_num_threads(threads)
        connection.close()
        process.join()


def attempt(work: Callable[[Any], None], task: Any) -> Outcome:
    """One task in this process."""
    try:
        work(task)
    except KeyboardInterrupt:
        return Outcome(task, interrupted=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not stop the other tasks
        return Outcome(task, " ".join(f"{type(error).__name__}: {error}".split()))
    return Outcome(task)


def _receive(connection: Connection, process: BaseProcess, task: Any) -> Outcome:
    try:
        outcome: Outcome = connection.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        return Outcome(task, f"its process ended with exit code {process.exitcode}")
    return outcome


def _start(work: Callable[[Any], None]) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work), daemon=True)
    with _one_thread():
        process.start()
    theirs.close()  # so that its death closes the pipe
    return ours, process


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Environment of a process whose numeric libraries use one thread; torch reads it at import."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(zip(names, ("1", "1", "false"), strict=True))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(connection: Connection, work: Callable[[Any], None]) -> None:
    """A process of the pool: tasks come and outcomes go through one pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # training listens to Ctrl-C by itself
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            connection.send(attempt(work, connection.recv()))


def _end_with_parent() -> None:
    """An orphan would go on writing where the next sweep writes too."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
