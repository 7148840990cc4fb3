"""What crosses between the client and a worker, and back."""

from __future__ import annotations

import pickle

import pytest

from dask_pools.data.parcel import PoolFailureError, pack, pack_call, unpack
from dask_pools.errors import RemoteError


class OddError(LookupError):
    """An error that can be pickled and not unpickled, as some of zarr's."""

    def __init__(self, one, two):
        super().__init__(f"{one} of {two}")


class UnpickledError(Exception):
    def __reduce__(self):
        raise TypeError("not me")


class CodecError(UnpickledError, UnicodeDecodeError):
    """Of a class of Python's own that is not made from a message alone."""


def travelled(error, where="pool 'a'"):
    """Send an error as a task would."""
    try:
        raise error
    except type(error) as caught:
        failure = PoolFailureError.of(caught, where)
    return pickle.loads(pickle.dumps(failure)).original()


def test_missing_file_is_told_with_its_path_and_the_pool():
    error = travelled(FileNotFoundError(2, "No such file or directory", "/data/x.nc"))
    assert type(error) is FileNotFoundError
    assert error.filename == "/data/x.nc"
    assert error.errno == 2
    assert str(error) == "[Errno 2] No such file or directory in pool 'a': '/data/x.nc'"


def test_missing_file_told_in_words_names_the_pool_too():
    error = travelled(FileNotFoundError("/data/x.zarr does not exist"))
    assert str(error) == "/data/x.zarr does not exist (in pool 'a')"
    assert str(travelled(FileNotFoundError())) == ""


def test_other_errors_keep_their_message_and_say_where_they_were_raised():
    error = travelled(ValueError("bad chunks"))
    assert str(error) == "bad chunks"
    assert type(error) is ValueError
    assert error.__traceback__ is not None or "Raised in pool 'a'" in error.__notes__[0]


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (OddError("half", "it"), LookupError, "OddError: half of it"),
        (UnpickledError("x"), RemoteError, "UnpickledError: x"),
        (
            CodecError("utf-8", b"x", 0, 1, "odd"),
            RemoteError,
            "CodecError: 'utf-8' codec can't decode",
        ),
    ],
)
def test_error_that_cannot_be_made_here_becomes_the_nearest_one(error, kind, text):
    made = travelled(error)
    assert type(made) is kind
    assert str(made).startswith(text)
    assert "Raised in pool 'a'" in made.__notes__[0]
    assert "Traceback" in made.__notes__[0]


def test_failure_is_short_in_the_log_of_a_worker():
    failure = PoolFailureError.of(ValueError("x" * 100_000), "pool 'a'")
    assert len(repr(failure)) < 3000


def test_result_that_cannot_be_made_here_says_what_to_install():
    packed = b"\x80\x04\x8c\x0bnot_a_modul\x8c\x01x\x93."
    with pytest.raises(RemoteError, match=r"ModuleNotFoundError.*Install the same packages"):
        unpack(packed)


def test_values_and_functions_travel():
    assert unpack(pack({"x": [1, None]})) == {"x": [1, None]}
    assert unpack(pack(lambda: 3))() == 3


def test_argument_that_cannot_be_pickled_is_refused():
    with pytest.raises(TypeError, match=r"cannot be sent to a worker.*pickle"):
        pack_call((UnpickledError("x"),))
