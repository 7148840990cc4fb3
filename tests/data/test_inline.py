"""Computations while data is opened are made by the thread that opens it, and by no other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import dask
import pytest

from dask_pools.data.inline import computing_inline


def thread_of_a_computation():
    return dask.delayed(threading.get_ident, pure=False)().compute()


def test_computation_is_made_in_this_thread():
    with computing_inline():
        assert thread_of_a_computation() == threading.get_ident()
    assert thread_of_a_computation() != threading.get_ident()


def test_other_threads_compute_as_ever():
    calls = []

    def recorded(graph, keys, **options):
        calls.append(keys)
        return dask.get(graph, keys)

    with (
        dask.config.set(scheduler=recorded),
        ThreadPoolExecutor(1) as executor,
        computing_inline(),
    ):
        thread_of_a_computation()
        assert calls == []
        executor.submit(thread_of_a_computation).result()
        assert len(calls) == 1


def test_setting_is_as_before_when_threads_leave_in_any_order():
    entered, leave = threading.Barrier(2, timeout=30), threading.Event()

    def first_in_first_out():
        with computing_inline():
            entered.wait()
        leave.set()

    def last_out():
        with computing_inline():
            entered.wait()
            assert leave.wait(30)
            assert thread_of_a_computation() == threading.get_ident()

    before = dask.config.get("scheduler", None)
    with ThreadPoolExecutor(2) as executor:
        tasks = [executor.submit(first_in_first_out), executor.submit(last_out)]
        for task in tasks:
            task.result()
    assert dask.config.get("scheduler", None) is before


def test_error_leaves_nothing_behind():
    with pytest.raises(ZeroDivisionError), computing_inline():
        dask.delayed(lambda: 1 / 0)().compute()
    assert dask.config.get("scheduler", None) is None
