"""A catalog as a mapping: search, completion, representations, combination."""

from __future__ import annotations

import pickle
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_pools import Catalog, CatalogError, UnknownEntryError, set_locations
from dask_pools.data.catalog.entry import Entry
from dask_pools.data.catalog.preview import Preview, Variable

#: What our own HTML is made of.
ELEMENTS = {
    *("style", "div", "header", "b", "span", "table", "thead", "tbody"),
    *("tr", "th", "td", "i", "code"),
}
NASTY = "<script>alert('x')</script>&\"<img src=x onerror=alert(1)>"


def catalog():
    return Catalog(
        [
            Entry(
                "ens",
                "/data/ecmwf/ens.zarr",
                pools="ecmwf",
                description="Ensemble forecast",
                tags=["forecast", "Temperature"],
            ),
            Entry(
                "obs-2024", "s3://eum/obs.nc", pools=("eumetsat", "cedadocs"), tags="temperature"
            ),
            Entry("wind/10m", "/data/elsewhere/wind.nc"),
            Entry("search", "/data/search.nc"),
        ]
    )


def test_catalog_is_a_mapping_in_its_own_order():
    cat = catalog()
    assert list(cat) == ["ens", "obs-2024", "wind/10m", "search"]
    assert len(cat) == 4
    assert "ens" in cat
    assert "x" not in cat
    assert cat.get("x") is None
    assert dict(cat.items())["ens"] is cat["ens"] is next(iter(cat.values()))
    assert cat == catalog()
    assert pickle.loads(pickle.dumps(cat)) == cat


def test_unknown_name_is_an_error_with_what_was_meant():
    with pytest.raises(UnknownEntryError) as caught:
        catalog()["esn"]
    assert "has no entry 'esn'" in str(caught.value)
    assert "Did you mean 'ens'?" in str(caught.value)
    assert isinstance(caught.value, KeyError)
    assert "\\" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_unknown_name_of_a_large_catalog_lists_some():
    large = Catalog(Entry(f"e{i}", "/x") for i in range(1000))
    with pytest.raises(KeyError) as caught:
        large[3]
    assert len(str(caught.value)) < 500


def test_name_twice_is_refused():
    with pytest.raises(CatalogError, match="two entries have the name 'a'"):
        Catalog([Entry("a", "/x"), Entry("a", "/y")])
    with pytest.raises(TypeError, match="made of entries, not of str"):
        Catalog(["a"])


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"text": "temperature"}, ["ens", "obs-2024"]),
        ({"text": "FORECAST ensemble"}, ["ens"]),
        ({"text": "ecmwf wind"}, []),
        ({"text": "s3://eum"}, ["obs-2024"]),
        ({}, ["ens", "obs-2024", "wind/10m", "search"]),
        ({"tags": "temperature"}, ["ens", "obs-2024"]),
        ({"tags": ["temperature", "forecast"]}, ["ens"]),
        ({"tags": "temp"}, []),
        ({"pool": "cedadocs"}, ["obs-2024"]),
        ({"pool": ["ecmwf", "cedadocs"]}, ["ens", "obs-2024"]),
        ({"pool": "other"}, []),
        ({"text": "temperature", "pool": "ecmwf"}, ["ens"]),
    ],
)
def test_search(arguments, names):
    found = catalog().search(**arguments)
    assert isinstance(found, Catalog)
    assert list(found) == names


def test_search_for_a_pool_knows_locations():
    assert list(catalog().search(pool="x")) == []
    with set_locations({"/data/elsewhere": "x"}):
        assert list(catalog().search(pool="x")) == ["wind/10m"]


def test_completion():
    cat = catalog()
    assert cat._ipython_key_completions_() == list(cat)
    assert "ens" in dir(cat)
    assert "obs-2024" not in dir(cat)
    assert cat.ens is cat["ens"]
    assert callable(cat.search)  # the method, and not the entry


def test_ipython_completes_names():
    completer = pytest.importorskip("IPython.core.completer")
    ipython = completer.IPCompleter(namespace={"cat": catalog()})
    with completer.provisionalcompleter():
        names = [completion.text for completion in ipython.completions('cat["', 5)]
    assert "ens" in names


def test_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Did you mean 'ens'"):
        catalog().enz  # noqa: B018 - the look-up itself is tested
    assert not hasattr(catalog(), "_repr_mimebundle_")


def test_catalogs_combine():
    one, other = Catalog([Entry("a", "/a")]), Catalog([Entry("b", "/b"), Entry("a", "/a")])
    assert list(one | other) == ["a", "b"]
    assert one | one == one
    with pytest.raises(CatalogError, match="entries with the names 'a'"):
        one | Catalog([Entry("a", "/other")])
    with pytest.raises(TypeError):
        one | {"a": 1}


def test_text():
    assert repr(catalog()).splitlines() == [
        "<dask_pools.Catalog: 4 entries>",
        "    ens       ecmwf                 Ensemble forecast",
        "    obs-2024  eumetsat or cedadocs",
        "    wind/10m",
        "    search",
    ]
    assert "/data/ecmwf/ens.zarr" in repr(catalog().ens)
    assert repr(Catalog()) == "<dask_pools.Catalog: 0 entries>"


def test_long_catalogs_are_shown_in_part():
    large = Catalog(Entry(f"e{i}", "/x") for i in range(1000))
    for shown in (repr(large), large._repr_html_()):
        assert "and 940 more" in shown
        assert "e999" not in shown


class Tags(HTMLParser):
    """Lists the elements of a piece of HTML, and what is in it as text."""

    def __init__(self, html):
        super().__init__()
        self.names, self.attributes, self.text = set(), set(), ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data):
        self.text += data


def nasty_preview(text):
    variable = Variable(text, (text,), (2,), (1,), text, 8, 2, False, text)
    return Preview(text, 1, {text: 2}, (variable,), {})


def assert_is_only_text(html, text):
    tags = Tags(html)
    assert tags.names <= ELEMENTS
    assert tags.attributes <= {"class"}
    assert text in tags.text


def test_html_is_escaped_everywhere():
    entry = Entry(
        NASTY, NASTY, NASTY, {NASTY: NASTY}, pools="a", description=NASTY, tags=[NASTY, "x"]
    )
    for shown in (Catalog([entry]), entry, nasty_preview(NASTY)):
        assert_is_only_text(shown._repr_html_(), NASTY)


@given(st.text(min_size=1).filter(lambda text: text.isprintable() and text == text.strip()))
def test_no_text_becomes_an_element(text):
    entry = Entry("x", f"/{text}", description=text, tags=[text])
    for shown in (Catalog([entry]), entry, nasty_preview(text)):
        assert_is_only_text(shown._repr_html_(), text)


def test_html_of_an_entry_leaves_out_what_it_does_not_say():
    html = Entry("x", "/x.nc")._repr_html_()
    assert "location" in html
    assert not re.search("engine|pools<", html)
