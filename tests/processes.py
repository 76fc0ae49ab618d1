"""Processes that tests start in the middle of a run, without what the test process holds."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import BaseContext


def bare_processes() -> BaseContext:
    """A context whose processes share neither threads, locks nor open files with this one.

    A plain fork copies the locks that other threads hold at that moment and the pipes of a
    browser that an earlier test started: the child may wait for ever, and the browser's end
    waits for the child. A server forks these instead; it is started once and imports torch,
    so that each of them begins in a fraction of a second.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "transformers", "accelerate", "rlhf_lab.ppo"])
    return context
