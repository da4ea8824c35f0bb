"""The parts of reports by themselves: markup that cannot run, shapes of input, text of PDF files."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reportpages import read_page

from huizhen.reports.form import NotOfThisForm, check_form
from huizhen.reports.markup import h
from huizhen.reports.pdftext import fonts_in_pdf, with_searchable_text

MARKUP = st.text(alphabet=st.sampled_from("<>&\"'/=!-;# abxscript0\u4f1a"), max_size=60)


@given(MARKUP | st.text(max_size=60), MARKUP | st.text(max_size=60))
@example("<script>alert(1)</script>", '"><b onload="x">')
@example("&lt;b&gt; &#60;b&#62; <!-- -->", "' onclick='x")
def test_whatever_is_written_comes_back_as_text(text: str, value: str) -> None:
    page = read_page(str(h("div", {"class": value}, h("p", None, text), text)))
    (box,) = page.children
    assert [child.tag for child in box.children if not isinstance(child, str)] == ["p"]
    assert set(box.attributes) == {"class"}

    def same(told: str, written: str) -> bool:
        told, written = ("".join(char for char in one if char not in "\r\n\t") for one in (told, written))
        return len(told) == len(written) and all(a in (b, "\ufffd") for a, b in zip(told, written, strict=True))

    assert same(box.one("p").text, text)
    assert same(box.attributes["class"], value)


@pytest.mark.parametrize(
    "tag", ["script", "img", "a", "iframe", "object", "link", "style", "foreignobject", "use", "form"]
)
def test_what_runs_or_loads_is_no_element(tag: str) -> None:
    with pytest.raises(ValueError, match=tag):
        h(tag)


@pytest.mark.parametrize(
    "name", ["onclick", "href", "src", "style", "xlink:href", "action", "srcset", "class=x onload"]
)
def test_what_runs_or_loads_is_no_attribute(name: str) -> None:
    with pytest.raises(ValueError, match=name.split("=", maxsplit=1)[0]):
        h("p", {name: "x"})


@pytest.mark.parametrize(
    ("value", "shape", "place"),
    [
        ({"a": 1}, {"a": str}, "a"),
        ({"a": [1, "x"]}, {"a": [int]}, "a[1]"),
        ({"a": True}, {"a": int}, "a"),
        ({"a": float("nan")}, {"a": float}, "a"),
        ({"a": float("inf")}, {"a": (float, None)}, "a"),
        ({"a": 10**400}, {"a": float}, "a"),
        ({}, {"a": str}, "a"),
        ([], {"a": str}, ""),
    ],
)
def test_what_does_not_fit_is_told_by_its_place(value: object, shape: object, place: str) -> None:
    with pytest.raises(NotOfThisForm) as told:
        check_form(value, shape)
    assert told.value.place == place


def test_what_may_be_missing_may_be_missing() -> None:
    check_form({"a": None, "more": 1}, {"a": (str, None), "b?": int})


def pdf_with(text_map: bytes) -> bytes:
    """A small PDF, built by hand, whose one font has this ToUnicode map."""
    packed = zlib.compress(text_map)
    parts = [
        b"<</Type /Catalog /Pages 2 0 R>>",
        b"<</Type /Pages /Kids [] /Count 0>>",
        b"<</Type /FontDescriptor\n/FontName /AAAAAA+Some-Font\n/Flags 4\n/FontFile2 9 0 R>>",
        b"<</Type /FontDescriptor\n/FontName /Other-Font\n/Flags 4>>",
        b"<</Filter /FlateDecode\n/Length %d>> stream\n%s\nendstream" % (len(packed), packed),
    ]
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, part in enumerate(parts, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    start = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<</Size 6\n/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % start
    return bytes(out)


def test_radicals_become_the_characters_that_people_type() -> None:
    import io

    import pypdf

    text_map = (
        b"begincmap\n2 beginbfchar\n<01> <2F08>\n<02> <6C14>\nendbfchar\n"
        b"2 beginbfrange\n<03> <04> <2ED3>\n<05> <06> <4E00>\nendbfrange\nendcmap"
    )
    before = pdf_with(text_map)
    after = with_searchable_text(before)
    assert after.startswith(before), "what was written stays"
    stream = pypdf.PdfReader(io.BytesIO(after)).get_object(5).get_data()
    assert b"<01> <4EBA>\n<02> <6C14>" in stream
    assert b"<03> <04> [<957F> <95E8>]" in stream
    assert b"<05> <06> <4E00>" in stream
    assert with_searchable_text(after[: len(before)]) == after
    fonts = fonts_in_pdf(before)
    assert (fonts.embedded, fonts.missing) == (("AAAAAA+Some-Font",), ("Other-Font",))
    assert fonts.chinese == frozenset("人气长门一丁")


@given(st.binary(max_size=400))
def test_any_bytes_are_no_reason_to_fall(content: bytes) -> None:
    fonts_in_pdf(b"%PDF-1.4\n1 0 obj\n<<" + content)
    assert with_searchable_text(content) == content
