"""Blocking work of a coroutine, in a thread that is never left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from contextvars import copy_context
from functools import partial
from typing import Final

#: Most of them only wait: for a disk, or for a store elsewhere that may be slow. They are threads
#: of our own, so that whoever waits for a slow store keeps nobody else from the loop's few.
_THREADS: Final = ThreadPoolExecutor(64, "datasets")


async def in_thread[**P, T](work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``work`` in one of the threads of datasets."""
    call = partial(copy_context().run, work, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_THREADS, call)


async def blocking[**P, T](work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``work`` in a thread; when the caller is cancelled, wait for it all the same.

    A client that goes away cancels its request. Were the thread left alone then, it would go on
    writing to a file that is being closed, or to another one that got its number.
    """
    task = asyncio.ensure_future(in_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


@asynccontextmanager
async def entered[T](manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave a context manager in threads: both may block."""
    value = await blocking(manager.__enter__)
    try:
        yield value
    except BaseException as error:
        if not await blocking(manager.__exit__, type(error), error, error.__traceback__):
            raise
    else:
        await blocking(manager.__exit__, None, None, None)
