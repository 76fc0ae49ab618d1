"""A stretch of Fernwick's web, written by several processes and read in order. No torch here:
each process that is started imports this module.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

from rlhf_lab.errors import InputError
from rlhf_lab.world.documents import Document
from rlhf_lab.world.prompts import check_split
from rlhf_lab.world.world import World

CHUNK = 4000  # documents handed to a process at a time, about a third of a second of work


@dataclass(frozen=True)
class Stream:
    """``count`` documents of a split from position ``start``.

    Raises:
        InputError: for a negative start, a count below 1, or an unknown split.
    """

    count: int
    start: int = 0
    split: str = "train"
    world_seed: int = 0

    def __post_init__(self) -> None:
        check_split(self.split)
        if self.count < 1:
            raise InputError("count", self.count, "at least 1", "ask for one document or more")
        if self.start < 0:
            raise InputError("start", self.start, "0 or more", "count documents from 0")

    def chunks(self) -> Iterator[Stream]:
        """The same stretch in parts of at most :data:`CHUNK` documents."""
        for start in range(self.start, self.start + self.count, CHUNK):
            count = min(CHUNK, self.start + self.count - start)
            yield Stream(count, start, self.split, self.world_seed)


def make(stream: Stream) -> list[Document]:
    """All documents of a stream, made in this process."""
    return list(World(stream.world_seed).documents(stream.count, stream.start, stream.split))


def generate(stream: Stream, processes: int | None = None) -> Iterator[Document]:
    """Documents in order, the same for any number of processes.

    Args:
        stream: which ones.
        processes: how many make them; None for one per core. A short stream is made in this one.
    """
    processes = processes or os.cpu_count() or 1
    if processes == 1 or stream.count <= CHUNK:
        for chunk in stream.chunks():
            yield from make(chunk)
        return
    # Not fork: a process that has run torch holds locks that a forked one would wait for.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        chunks = stream.chunks()
        # Two chunks ahead for each process: none waits, and a slow reader does not fill memory.
        pending: deque[Future[list[Document]]] = deque(
            pool.submit(make, chunk) for chunk in itertools.islice(chunks, 2 * processes)
        )
        while pending:
            done = pending.popleft().result()
            pending.extend(pool.submit(make, chunk) for chunk in itertools.islice(chunks, 1))
            yield from done
