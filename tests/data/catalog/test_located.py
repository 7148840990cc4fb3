"""YAML from anywhere: plain data, every value with its line, bounded, nothing run."""

from __future__ import annotations

import pickle

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dask_pools.data.catalog.located import (
    DEEPEST,
    MOST_VALUES,
    catalog_error,
    plain_yaml,
    read_located,
)
from dask_pools.errors import CatalogError

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
)
plain = st.recursive(
    scalars,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=8), inside),
    max_leaves=15,
)


@given(plain)
def test_plain_data_is_read_as_by_yaml_itself(data):
    text = yaml.safe_dump(data)
    located, mistakes = read_located(text)
    assert mistakes == []
    assert located.plain() == yaml.safe_load(text) == data


@given(st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True), plain, min_size=1))
def test_every_name_knows_its_line(data):
    text = yaml.safe_dump(data, sort_keys=False)
    located, _ = read_located(text)
    lines = text.splitlines()
    for name in data:
        assert lines[located.line_of((name,)) - 1].startswith((name, f"'{name}'", f'"{name}"'))


def test_line_of_what_is_missing_is_that_of_where_it_would_be():
    located, _ = read_located("a:\n  b:\n    - 1\n    - 2\n")
    assert located.line_of(("a", "b", 1)) == 4
    assert located.line_of(("a", "b", 9)) == 2
    assert located.line_of(("a", "x")) == 1


def test_all_duplicates_are_told_with_both_lines():
    _, mistakes = read_located("a: 1\nb: {x: 1, x: 2}\na: 2\n")
    assert mistakes == [
        (2, "'x' is there twice, first on line 2."),
        (3, "'a' is there twice, first on line 1."),
    ]


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['true']",
        "!!python/name:os.system",
        "!!python/object/new:tuple [[1]]",
        "!env HOME",
        "!include other.yaml",
        "!!binary aGVsbG8=",
        "!!set {a, b}",
    ],
)
def test_tags_are_refused_on_their_line(tag):
    _, mistakes = read_located(f"a: 1\nb: {tag}\n")
    ((line, message),) = mistakes
    assert line == 2
    assert "is refused: a catalog is plain data" in message


def test_dates_stay_texts():
    assert plain_yaml("a: 2024-06-21\nb: 2024-06-21T12:00:00Z\n", "c") == {
        "a": "2024-06-21",
        "b": "2024-06-21T12:00:00Z",
    }


def test_billion_laughs_are_refused_without_being_laughed():
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    located, mistakes = read_located("\n".join(levels))
    assert located is None
    assert f"more than {MOST_VALUES:,} values" in mistakes[-1][1]


def test_billion_merges_are_refused():
    levels = ["a0: &a0 {x: 1, y: 2}"]
    levels += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 12)]
    located, mistakes = read_located("\n".join(levels))
    assert located is None
    assert "aliases counted in" in mistakes[-1][1]


def test_alias_into_itself_is_refused():
    located, mistakes = read_located("a: &a\n  b: *a\n")
    assert located is None
    assert "leads into itself" in mistakes[-1][1]


@pytest.mark.parametrize("text", ["[" * 100_000, "a: " + "{a: " * 100_000, "- " * 100_000])
def test_depth_is_refused_before_the_limit_of_python(text):
    located, mistakes = read_located(text)
    assert located is None
    assert f"more than {DEEPEST} levels deep" in mistakes[-1][1]


def test_aliases_and_merges_may_be_used_with_measure():
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {x: 5, z: 6}]}\n"
    assert plain_yaml(text, "c") == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["<<: 1", "a: {<<: [1]}"])
def test_what_cannot_be_merged_is_told(text):
    assert "'<<' takes a mapping" in read_located(text)[1][0][1]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: [1\nb: 2\n", 2, "this is not right YAML"),
        ("a: *nowhere\n", 1, "undefined alias"),
        ("a: 1\n--- \nb: 2\n", 2, "another document"),
        ("a: \x00\n", 1, "this is not text"),
        ("\n? [1, 2]\n: 3\n", 2, "a name is a text"),
        (f"a: {'9' * 5000}\n", 1, "is no number"),
    ],
)
def test_mistakes_have_their_line(text, line, said):
    mistakes = read_located(text)[1]
    assert mistakes
    assert mistakes[0][0] == line
    assert said in mistakes[0][1]


def test_error_has_all_lines_in_order_and_survives_pickling():
    error = catalog_error("c.yaml", [(9, "second"), (2, "first")])
    assert isinstance(error, CatalogError)
    assert isinstance(error, ValueError)
    assert str(error).splitlines()[1:] == ["  line 2: first", "  line 9: second"]
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_empty_file_is_nothing():
    assert read_located("# nothing\n") == (None, [])
