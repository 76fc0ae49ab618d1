"""Pages that have to run do so ahead of the build, as many at once as there are cores.

Sphinx reads one page after the other, and a page that is read is executed: on two cores one of them
mostly waits. So before anything is read, the pages whose outputs are not in the cache are executed
by several processes, which leave them there. A page that fails leaves nothing: it runs once more
when it is read, and the build shows its traceback.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import myst_nb.sphinx_
from myst_nb.core.execute import ExecutionError
from myst_nb.core.nb_to_tokens import nb_node_to_dict
from myst_nb.core.read import create_nb_reader
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.console import bold

from rlhf_book import edition
from rlhf_book.cache import Cache, ObservedClient

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A page to execute: what myst-nb would give its client."""

    page: str
    path: str
    notebook: NotebookNode
    settings: Any
    cache: Cache

    def execute(self) -> str:
        """Leave the page's outputs in the cache; returns what to say of it."""
        silent, path = _Silent(), Path(self.path)
        client = ObservedClient(self.notebook, path, self.settings, silent, cache=self.cache)
        try:
            run = client.run()
        except ExecutionError:
            return "failed"
        return f"{run['runtime']:.0f} s" if run["succeeded"] else "failed"


class _Silent:
    """What a page has to say it says when it is read."""

    def info(self, *_: object, **__: object) -> None:
        """Say nothing."""

    warning = info


def stale(app: Sphinx, env: BuildEnvironment, pages: Sequence[str]) -> list[Job]:
    """The pages that will be executed when they are read."""
    parsed = cast(myst_nb.sphinx_.SphinxEnvType, env)
    return [job for page in pages if (job := _job(app, parsed, page)) is not None]


def _job(app: Sphinx, env: myst_nb.sphinx_.SphinxEnvType, page: str) -> Job | None:
    """As ``myst_nb.sphinx_.Parser.parse`` begins, which has no function for it."""
    path, settings = str(env.doc2path(page)), env.mystnb_config
    text = [Path(path).read_text(encoding="utf-8")]
    if app.config.rlhf_edition == "student":
        edition.erase(app, page, text)
    reader = create_nb_reader(path, env.myst_config, settings, text[0])
    if reader is None:  # a page without code
        return None
    notebook = reader.read(text[0])
    own = nb_node_to_dict(notebook.metadata.get(settings.metadata_key, {}))
    own.pop("output_folder", None)
    settings = settings.copy(**own)
    client = myst_nb.sphinx_.create_client(notebook, path, settings, logger, reader.read_fmt)
    if not isinstance(client, ObservedClient):
        return None
    return None if client.known() else Job(page, path, notebook, settings, client.cache)


def execute(app: Sphinx, env: BuildEnvironment, pages: list[str]) -> None:
    """Execute the stale ones of the pages that will be read, if more than one can run at once."""
    if cores() < 2:
        return
    jobs = stale(app, env, pages)
    if len(jobs) < 2:
        return
    count = min(cores(), len(jobs))
    logger.info(bold("executing ") + f"{len(jobs)} pages, {count} at a time")
    with ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), _begin, (cores() // count,)
    ) as pool:
        futures = {pool.submit(job.execute): job.page for job in jobs}
        for done, future in enumerate(as_completed(futures), start=1):
            logger.info(f"[{done}/{len(jobs)}] {futures[future]}: {future.result()}")


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin(threads: int) -> None:
    """In a process that executes pages: its kernels share the cores."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def register(app: Sphinx) -> None:
    """Execute between the list of pages to be read and the first of them."""
    app.connect("env-before-read-docs", execute)
