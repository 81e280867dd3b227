"""Threads of numerical libraries, where several threads of our own call them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Keep BLAS and torch at one thread for each caller: on all cores in each, they wait for one another."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else 1
    with one_blas_thread():
        if torch is not None:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch is not None:
                torch.set_num_threads(before)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS at one thread."""
    with _pools(len(sys.modules)).limit(limits=1, user_api="blas"):
        yield


@lru_cache(maxsize=1)
def _pools(modules: int) -> ThreadpoolController:
    """The libraries of this process, looked for anew once more modules are loaded; it takes milliseconds."""
    return ThreadpoolController()
