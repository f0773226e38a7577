"""One thread for torch's small matrices, without taking threads from anybody else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from isogloss.dsl.one_thread import _worker, in_one_thread


def test_there_torch_has_one_thread_and_elsewhere_as_many_as_before() -> None:
    before = torch.get_num_threads()
    _worker.cache_clear()
    assert in_one_thread(torch.get_num_threads) == 1
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == before


def test_calls_nest_and_errors_come_out() -> None:
    assert in_one_thread(in_one_thread, max, 3, 4) == 4
    with pytest.raises(ZeroDivisionError):
        in_one_thread(divmod, 1, 0)
