"""The decisions about workers, without any worker."""

from __future__ import annotations

import re

import pytest
from distributed import Nanny

from dask_pools.deploy.spec import (
    check_dashboard_address,
    check_pools,
    check_scale,
    check_worker_options,
    worker_names,
    worker_spec,
)
from dask_pools.errors import PoolNameError, UnknownPoolError


def test_pools_are_returned_as_they_were_given():
    assert check_pools({"eumetsat": 1, "ecmwf": 2}) == {"eumetsat": 1, "ecmwf": 2}


@pytest.mark.parametrize(
    ("pools", "error", "message"),
    [
        (4, TypeError, "such as {'ecmwf': 2, 'eumetsat': 2}, not 4 of type int"),
        (["ecmwf"], TypeError, "a mapping of names to numbers of workers"),
        ({}, ValueError, "at least one pool"),
        ({"": 1}, PoolNameError, "'' is not a name for a pool"),
        ({"a b": 1}, PoolNameError, "'a b' is not a name for a pool"),
        ({1: 1}, TypeError, "the name of a pool is a string"),
        ({"ecmwf": 0}, ValueError, "workers of pool 'ecmwf' is 0, and has to be at least 1"),
        ({"ecmwf": -1}, ValueError, "workers of pool 'ecmwf' is -1, and has to be at least 1"),
        ({"ecmwf": True}, TypeError, "workers of pool 'ecmwf' is an integer, not True"),
        ({"ecmwf": 2.0}, TypeError, "an integer, not 2.0 of type float"),
        ({"ecmwf": "2"}, TypeError, "an integer, not '2' of type str"),
    ],
)
def test_pools_that_make_no_sense_are_refused(pools, error, message):
    with pytest.raises(error, match=re.escape(message)):
        check_pools(pools)


def test_worker_of_a_pool_keeps_other_resources():
    spec = worker_spec("ecmwf", {"resources": {"GPU": 2}, "nthreads": 4})
    assert spec["cls"] is Nanny
    assert spec["options"] == {"resources": {"GPU": 2, "pool-ecmwf": 1}, "nthreads": 4}


def test_names_of_workers_do_not_clash_between_similar_pools():
    assert not set(worker_names("a", 3)) & set(worker_names("a-1", 3))


def test_options_of_a_worker_pass():
    options = {"env": {"A": "1"}, "resources": {"GPU": 1}, "preload": ["x"], "death_timeout": 5}
    assert check_worker_options(options) == options


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_workers": 2}, TypeError, "no option 'n_workers'"),
        ({"thread_per_worker": 2}, TypeError, "Did you mean 'threads_per_worker'?"),
        ({"host": "192.0.2.1"}, TypeError, "everything is on 127.0.0.1"),
        ({"worker_class": Nanny}, TypeError, "no option 'worker_class'"),
        ({"kwargs": {}}, TypeError, "no option 'kwargs'"),
        ({"resources": {"pool-x": 1}}, ValueError, "cannot name the pools 'x'"),
    ],
)
def test_option_that_is_none_or_is_taken_is_refused(options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        check_worker_options(options)


@pytest.mark.parametrize(
    ("address", "complete"),
    [
        (":0", "127.0.0.1:0"),
        ("localhost:8787", "127.0.0.1:8787"),
        ("127.0.0.1:8787", "127.0.0.1:8787"),
        ("8787", "127.0.0.1:8787"),
        (None, None),
    ],
)
def test_dashboard_is_on_this_machine(address, complete):
    assert check_dashboard_address(address) == complete


@pytest.mark.parametrize("address", ["0.0.0.0:8787", "example.org:80", ":x", ""])
def test_dashboard_elsewhere_is_refused(address):
    with pytest.raises(ValueError, match=re.escape("listens on 127.0.0.1 only")):
        check_dashboard_address(address)


def test_scaling_an_unknown_pool_names_the_near_miss():
    with pytest.raises(UnknownPoolError, match=r"Its pools: 'ecmwf'. Did you mean 'ecmwf'\?"):
        check_scale({"ecwmf": 2}, {"ecmwf": ...})


def test_pool_may_be_scaled_to_nothing_but_not_below():
    assert check_scale({"ecmwf": 0}, {"ecmwf": ...}) == {"ecmwf": 0}
    with pytest.raises(ValueError, match="is -1, and has to be at least 0"):
        check_scale({"ecmwf": -1}, {"ecmwf": ...})
