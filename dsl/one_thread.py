"""Torch in one thread, for work on small matrices.

The threads of its linear algebra wait for each other at every column. Alone on two cores that gains
little on narrow factors, and beside other work each wait lasts until all of them have had a turn:
fifty times as long was measured.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")

_NAME: Final = "isogloss-torch"


def in_one_thread(function: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
    """Call a function in a thread in which torch computes without others, and wait for it."""
    if threading.current_thread().name.startswith(_NAME):
        return function(*arguments, **options)
    return _worker().submit(function, *arguments, **options).result()


@cache
def _worker() -> ThreadPoolExecutor:
    worker = ThreadPoolExecutor(1, thread_name_prefix=_NAME)
    others = torch.get_num_threads()
    # The number is a thread's own. Its first look takes over what was set last anywhere, so that
    # it has to come before.
    worker.submit(torch.get_num_threads).result()
    worker.submit(torch.set_num_threads, 1).result()
    torch.set_num_threads(others)
    return worker


os.register_at_fork(after_in_child=_worker.cache_clear)
