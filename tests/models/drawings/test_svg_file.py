import encodings
import itertools
from contextlib import suppress

import numpy as np
import pytest

from models.drawings.polylines import to_stroke3
from models.drawings.svg_file import SvgError, read_svg

HEAD = '<svg xmlns="http://www.w3.org/2000/svg">'


def test_shapes_become_polylines() -> None:
    found = read_svg(
        HEAD + '<line x1="0" y1="0" x2="3" y2="4"/><polyline points="0,0 1 1,2 0"/><polygon points="0 0 1 0 1 1"/>'
        '<rect x="1" y="2" width="3" height="4"/><circle cx="5" cy="5" r="2"/><path d="M0 0L9 9"/></svg>'
    )
    lengths = [len(line) for line in found.polylines]
    assert lengths[:4] == [2, 3, 4, 5]
    np.testing.assert_allclose(np.hypot(*(found.polylines[4] - 5).T), 2)
    assert found.polylines[5].tolist() == [[0, 0], [9, 9]]


def test_transforms_of_groups_and_elements_multiply() -> None:
    found = read_svg(HEAD + '<g transform="translate(10 20)"><path transform="scale(2) rotate(90)" d="M1 0L2 0"/></g></svg>')
    np.testing.assert_allclose(found.polylines[0], [[10, 22], [10, 24]], atol=1e-12)
    found = read_svg(HEAD + '<path transform="matrix(1 0 0 1 5 6) rotate(180, 1, 1)" d="M0 0L1 1"/></svg>')
    np.testing.assert_allclose(found.polylines[0], [[7, 8], [6, 7]], atol=1e-12)


def test_path_data_alone_is_a_drawing() -> None:
    assert read_svg(b" m1 1 2 2").polylines[0].tolist() == [[1, 1], [3, 3]]


def test_what_is_not_drawn_is_left_out_and_counted() -> None:
    found = read_svg(
        HEAD + '<defs><path d="M0 0L5 5"/></defs><clipPath><g><rect width="1" height="1"/></g></clipPath>'
        '<path display="none" d="M7 7L8 8"/><text>hi</text><use/><path d="M1 1L2 2"/></svg>'
    )
    assert [line.tolist() for line in found.polylines] == [[[1, 1], [2, 2]]]
    assert found.left_out == {"text": 1, "use": 1}


def test_a_plain_document_type_is_accepted() -> None:
    kind = '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">'
    assert read_svg(kind + HEAD + '<path d="M0 0L1 1"/></svg>').polylines


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('<!DOCTYPE svg [<!ENTITY a "ha">]>' + HEAD + '<path d="M0 0L1 1"/></svg>', "declarations, which may define entities"),
        ('<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>', "declarations"),
        (HEAD + "&amp;&unknown;</svg>", "not a well-formed SVG file"),
        (HEAD + "<g>" * 200 + "</g>" * 200 + "</svg>", "nested more than 100 deep"),
        (HEAD + '<path d="M0 0' + "L1 1" * 15_000 + '"/><path d="M0 0' + "L1 1" * 15_000 + '"/></svg>', "20,000 points"),
        (HEAD + '<path d="M0 0' + "z" * 30_000 + '"/></svg>', "more than 20,000 points"),
        (
            HEAD + '<path d="M0 0' + "a1 1 0 0 0 0 0" * 15_000 + '"/><path d="M0 0' + "z" * 15_000 + '"/></svg>',
            "20,000 points",
        ),
        (HEAD + '<line x1="1' + " " * 1_000_000 + 'y" y1="1"/></svg>', "x1 must be a number without a unit"),
        (HEAD + '<line x1="' + "1" * 1_000_000 + '!" y1="1"/></svg>', "x1 must be a number without a unit"),
        (HEAD + '<circle r="5cm"/></svg>', "r must be a number without a unit or in px, not '5cm'"),
        (HEAD + '<path transform="spin(3)" d="M0 0L1 1"/></svg>', "'spin' is unknown"),
        (HEAD + '<path transform="scale(1e9)" d="M1 1L2 2"/></svg>', "after all transforms"),
        (HEAD + '<path transform="scale(1e9) scale(1e9)" d="M1 1L2 2"/></svg>', "a factor is above 1e+09"),
        (HEAD + "<text>x</text></svg>", "nothing to draw"),
        (HEAD + f'<path transform="{"scale(1)" * 200}" d="M0 0L1 1"/></svg>', "has 200 transforms; at most 100 are allowed"),
        (HEAD + f'<g transform="{"scale(1)" * 100}"/>' * 101 + "</svg>", "more than 10,000 transforms"),
        (HEAD + "<g/>" * 20_001 + "</svg>", "more than 20,000 elements"),
        (HEAD + "<path " + " ".join(f"a{i}='1'" for i in range(60_000)) + "/></svg>", "has 60,001 attributes; at most 50,000"),
        (HEAD + f'<polyline points="{"1 2 " * 30_000}"/></svg>', "more than 20,000 points"),
        ("<html><body/></html>", "the root of an SVG file is 'svg', not 'html'"),
        ("", "the SVG is empty"),
        ("\x89PNG", "not a well-formed"),
        ("M" + "0" * (5 << 20), "at most 4,194,304 are allowed"),
    ],
)
def test_hostile_and_broken_files_are_refused(text: str, reason: str) -> None:
    with pytest.raises(SvgError) as caught:
        read_svg(text)
    assert reason in str(caught.value)


def test_stroke3_lifts_the_pen_at_the_end_of_each_stroke() -> None:
    drawing = to_stroke3([np.array([[5, 5], [6, 7]]), np.array([[1, 1]])])
    assert drawing.tolist() == [[0, 0, 0], [1, 2, 1], [-5, -6, 1]]


def declared(encoding: str) -> str:
    return f'<?xml version="1.0" encoding="{encoding}"?>{HEAD}<path d="M0 0L1 1"/></svg>'


@pytest.mark.parametrize(
    "name", ["hex", "base64", "rot13", "zlib", "bz2", "mbcs", "os", "idna", "utf-7", "x0" + "y" * 100_000]
)
def test_only_a_few_encodings_are_looked_up(name: str) -> None:
    before = set(encodings._cache)  # of whatever ran before
    for data in (declared(name).encode(), declared(name).encode("utf-16")):
        with pytest.raises(SvgError) as caught:
            read_svg(data)
        assert "of the XML declaration is not known: save the file as UTF-8" in str(caught.value)
        assert len(str(caught.value)) < 500
    assert set(encodings._cache) <= before | {"utf_16", "utf-16"}


@pytest.mark.parametrize("name", ["UTF-8", "us-ascii", "ISO-8859-1", "latin-1", "windows-1252"])
def test_known_encodings_are_read(name: str) -> None:
    assert read_svg(declared(name).encode()).polylines[0].tolist() == [[0, 0], [1, 1]]


def test_utf_16_is_read() -> None:
    assert read_svg(declared("utf-16").encode("utf-16")).polylines[0].tolist() == [[0, 0], [1, 1]]


def test_arcs_of_any_radius_are_read() -> None:
    radii = ("1e-320", "1e-300", "1e-200", "1e-160", "1e-20", "1", "1e3")
    for rx, ry, end in itertools.product(radii, radii, ("10 10", "1e3 0", "1e-200 1e-300", "0 1e-9")):
        for flags in ("0 1", "1 1"):
            data = f"M0 0A{rx} {ry} 30 {flags} {end}"
            if float(rx) * 1e3 < float(ry) or float(ry) * 1e3 < float(rx):  # It may be far longer than it is wide.
                with suppress(SvgError):
                    read_svg(data)
            else:
                (line,) = read_svg(data).polylines
                assert np.isfinite(line).all()
    tiny, small = (read_svg(f"M0 0A{radius} {radius} 0 0 1 10 10").polylines[0] for radius in ("1e-200", "1"))
    np.testing.assert_allclose(tiny, small)


def test_an_empty_path_is_skipped() -> None:
    for nothing in ("none", "", " none "):
        found = read_svg(f'{HEAD}<path d="{nothing}"/><path d="M0 0L1 1"/></svg>')
        assert [line.tolist() for line in found.polylines] == [[[0, 0], [1, 1]]]


def test_nested_transforms_that_grow_are_refused() -> None:
    with pytest.raises(SvgError, match="the transforms of the elements around it together"):
        read_svg(HEAD + '<g transform="scale(1e9)">' * 50 + '<path d="M0 0L1 1"/>' + "</g>" * 50 + "</svg>")
