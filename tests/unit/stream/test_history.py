"""Recorded history: both layouts in all their dresses, and what is wrong in a file costs itself alone."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.sources.history import PATIENCE, HistoryError, read_history

if TYPE_CHECKING:
    from pathlib import Path

    from stream.sources.source import Rejection

TAGS = {"flow": "hx/flow", "water": "hx/water", "débit": "hx/débit"}
LONG = "date;nom;ancienne valeur;nouvelle valeur\n"
WIDE = "date;flow;water\n"


class Reading:
    """What came of a file: `rows` as (tag, seconds after midnight UTC, value)."""

    def __init__(self, path: Path, timezone: str = "UTC") -> None:
        self.rejections: list[Rejection] = []
        self.notes: list[str] = []
        self.samples = list(
            read_history(path, tags=TAGS, timezone=timezone, reject=self.rejections.append, note=self.notes.append)
        )

    @property
    def rows(self) -> list[tuple[str, int, float | None]]:
        return [
            (s.tag, (s.source_at - s.source_at.replace(hour=0, minute=0, second=0)).seconds, s.value)
            for s in self.samples
        ]

    @property
    def refused(self) -> list[tuple[str, str]]:
        return [(r.tag, r.reason) for r in self.rejections]


@pytest.fixture
def read(tmp_path: Path):
    """Call it with the content of a file to get its `Reading`."""

    def call(content: str | bytes, timezone: str = "UTC") -> Reading:
        path = tmp_path / "h.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Reading(path, timezone)

    return call


# --- the shapes ----------------------------------------------------------------------------------------------------------

FOUR = [("hx/flow", 3600, 120.5), ("hx/water", 3600, 5.0), ("hx/flow", 3610, 121.5), ("hx/water", 3620, 5.25)]
SHAPES = {
    "long, French": LONG
    + "31/12/2014 01:00:00;flow;;120,5\n31/12/2014 01:00:00;water;4,9;5\n"
    + "31/12/2014 01:00:10;flow;120,5;121,5\n31/12/2014 01:00:20;water;5;5,25\n",
    "long, ISO": "time,tag,value\n"
    "2014-12-31T01:00:00Z,flow,120.5\n2014-12-31T01:00:00Z,water,5.0\n"
    "2014-12-31T01:00:10Z,flow,121.5\n2014-12-31T01:00:20Z,water,5.25\n",
    "long, tabs, columns in another order": "value\ttag\tunit\ttimestamp\n"
    "120.5\tflow\tm3/h\t2014/12/31 1:00\n5\twater\t\t2014/12/31 1:00\n"
    "121.5\tflow\tm3/h\t2014/12/31 01:00:10.000\n5.25\twater\t\t2014/12/31 01:00:20\n",
    "wide, French, blanks": WIDE
    + "31/12/2014 01:00;120,5;5,0\n31/12/2014 01:00:10;121,5;\n31/12/2014 01:00:20;;5,25\n",
    "wide, ISO": "time,water,flow\n"
    "2014-12-31 01:00,,120.5\n2014-12-31 01:00,5.0,\n2014-12-31 01:00:10,,121.5\n2014-12-31 01:00:20,5.25,\n",
    "wide, quoted decimal commas": '"date","flow","water"\n'
    '"31.12.2014 01:00","120,5","5,0"\n"31.12.2014 01:00:10","121,5",""\n"31.12.2014 01:00:20","","5,25"\n',
    "wide, blanks at the end left out": "date;flow;water;pressure\n"
    "31/12/2014 01h00;120,5;5\n31/12/2014 01:00:10;121,5\n31/12/2014 01:00:20;;5,25;\n",
    "wide, time of day in a column of its own": "Date;Heure;flow;water\n"
    "31/12/2014;01:00;120,5;5\n31/12/2014;01:00:10;121,5;\n31/12/2014;01:00:20;;5,25\n",
    "long, time of day before the date, and room around": "Heure, Date, Nom, Valeur,\n"
    "01:00, 31/12/2014, flow , 120.5,\n01:00, 31/12/2014, water, 5,\n"
    "01:00:10, 31/12/2014, flow, 121.5,\n01:00:20, 31/12/2014, water, 5.25,\n",
    "wide, offsets": "horodatage;flow;water\n2014-12-31T02:00:00+01:00;120,5;5\n"
    "2014-12-31T02:00:10 +0100;121,5;\n2014-12-30T20:00:20-05:00;;5,25\n",
    "empty cells and lines everywhere": "\n\nsep=;\nDATE ; flow ; water ;;\n\n 31/12/2014 01:00 ; 120,5 ; 5 ;;\n;;;;\n"
    "31/12/2014 01:00:10;121,5;;;\n\n31/12/2014 01:00:20;  ;5,25;;\n\n",
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    "dress",
    [
        lambda text: text.encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.rstrip("\n").encode(),
    ],
    ids=["UTF-8", "BOM", "CRLF", "CR", "UTF-16", "no last line end"],
)
def test_every_shape_says_the_same(read, text, dress):
    reading = read(dress(text))
    assert reading.rows == FOUR
    assert reading.refused == []
    assert {s.source_at.date().isoformat() for s in reading.samples} == {"2014-12-31"}
    assert all(s.arrived_at == s.source_at and s.source_at.tzinfo is UTC for s in reading.samples)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_accents_are_read_from_either_encoding(read, encoding):
    assert read("date;débit\n2014-12-31 00:00;1,5\n".encode(encoding)).rows == [("hx/débit", 0, 1.5)]


def test_a_byte_that_is_no_utf_8_costs_its_line_alone(read):
    reading = read(LONG.encode() + "2014-12-31 00:00;débit;;1\n".encode() * 2 + b"2014-12-31 00:00;d\xe9bit;;2\n")
    assert [row[2] for row in reading.rows] == [1, 1, 2]
    torn = read("date;débit\n2014-12-31 00:00;1\n2014-12-31 00:00;é".encode()[:-1])
    assert torn.rows == [("hx/débit", 0, 1)]
    assert torn.refused == [("hx/débit", "unparsable")]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("5", 5), ("5,", 5), (",5", 0.5), ("-5.25", -5.25), ("+1e3", 1000), ("1,5E-3", 0.0015), (" 7 ", 7),
        ("1 234,5", 1234.5), ("12\u202f345\u00a0678", 12345678), ("0005", 5),
    ],
)  # fmt: skip
def test_numbers_as_plants_write_them(read, cell, value):
    assert read(f"{WIDE}2014-12-31 00:00;{cell};\n").rows == [("hx/flow", 0, value)]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("five", "unparsable"), ("5 C", "unparsable"), ("1.234,5", "unparsable"), ("0x10", "unparsable"), ("1_000", "unparsable"),
        ("--5", "unparsable"), ("٣", "unparsable"), ("5.1.2", "unparsable"), ("NaN", "not_finite"),
        ("-inf", "not_finite"), ("1e999", "not_finite"), ("9" * 400, "not_finite"), ("x" * 400, "unparsable"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_one_rejection_of_its_tag(read, cell, reason):
    reading = read(f"{WIDE}2014-12-31 00:00;{cell};5\n2014-12-31 00:00:10;6;\n")
    assert reading.refused == [("hx/flow", reason)]
    assert reading.rows == [("hx/water", 0, 5), ("hx/flow", 10, 6)]
    assert "h.csv, line 2: " in reading.rejections[0].detail
    assert cell[:60] in reading.rejections[0].detail
    assert reading.rejections[0].at == datetime(2014, 12, 31, tzinfo=UTC)
    assert len(reading.rejections[0].detail) < 200


# --- times ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("31/12/2014 23:00", "2014-12-31T22:00:00"),
        ("2014-07-14 12:00", "2014-07-14T10:00:00"),
        ("14/07/2014", "2014-07-13T22:00:00"),
        ("2014-07-14T12:00:00.25", "2014-07-14T10:00:00.250000"),
        ("2014-07-14T12:00:00,123456789", "2014-07-14T10:00:00.123456"),
        ("2014-07-14T12:00:00Z", "2014-07-14T12:00:00"),
        ("2014-10-26 02:30", "2014-10-26T00:30:00"),  # there are two of it: the first
        ("2014-03-30 02:30", "2014-03-30T01:30:00"),  # there is none: as if the clock had not been changed
    ],
)
def test_dates_without_a_zone_are_of_the_zone_that_is_named(read, local, utc):
    (sample,) = read(f"{WIDE}{local};1;\n", timezone="Europe/Paris").samples
    assert sample.source_at == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "zone", ["Mars/Base", "", "Europe", "../../etc/passwd", "x" * 5000, "Europe/Paris\0", "\udc80"]
)
def test_a_zone_that_there_is_not_is_named(read, zone):
    with pytest.raises(HistoryError, match="expected a name such as Europe/Paris, found '") as caught:
        read(SHAPES["wide, ISO"], timezone=zone)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "date",
    ["31/02/2014 00:00", "2014-13-01", "2014-01-01 24:00", "2014-01-01 12:60", "yesterday", "", "41912.5", "0001-01-01 00:00",
     "9999-12-31 23:59:59-10:00", "2014-01-01 00:00+99:59", "0000-01-01", "20140101", "٢٠١٤-01-01"],
)  # fmt: skip
def test_an_impossible_date_is_one_rejection_wherever_it_stands(read, date):
    good = "2014-12-31 00:00:{:02d};{};\n"
    for place in range(3):
        rows = [good.format(i, i) for i in range(2)]
        rows.insert(place, f"{date};7;8\n")
        reading = read(WIDE + "".join(rows), timezone="Europe/Paris")
        assert [row[2] for row in reading.rows] == [0, 1]
        assert reading.refused == [("", "impossible_date")]
        assert f"line {place + 2}: " in reading.rejections[0].detail
        assert repr(date) in reading.rejections[0].detail


def test_impossible_dates_after_a_good_one_are_rejections_however_many(read):
    reading = read(f"{WIDE}2014-12-31 00:00;1;\n31/02/2014;2;\n" + "x;3;\n" * 50 + "2014-12-31 00:01;4;\n")
    assert [row[2] for row in reading.rows] == [1, 4]
    assert len(reading.rejections) == 51


def test_a_last_line_without_an_end_is_whole_when_no_named_column_is_missing(read):
    assert read("date;flow;;\n2014-12-31 00:00;5").rows == [("hx/flow", 0, 5)]


def test_rows_of_units_and_words_under_the_header_are_passed_over(read):
    reading = read(f"{WIDE};m3/h;°C\nunit;;\n2014-12-31 00:00;1;2\n")
    assert reading.rows == [("hx/flow", 0, 1), ("hx/water", 0, 2)]
    assert len(reading.refused) == 2


# --- what is wrong in a file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    ["2014-12-31 00:00:20;water", "2014-12-31 00:00:20;water;5,0", "2014-12-31 00", '2014-12-31 00:00:20;"wat', '"'],
)
def test_a_torn_last_line_of_changes_is_one_rejection(read, end):
    reading = read(f"{LONG}2014-12-31 00:00;flow;;1\n2014-12-31 00:00:10;water;;2\n{end}")
    assert [row[2] for row in reading.rows] == [1, 2]
    assert reading.refused == [("", "torn_line")]
    assert "line 4: " in reading.rejections[0].detail


@pytest.mark.parametrize("end", ["2014-12-31 00:00:20;12", "2014-12-31 00", "2014-12-31 00:00:20"])
def test_a_torn_last_line_of_columns_is_one_rejection(read, end):
    reading = read(f"{WIDE}2014-12-31 00:00;1;2\n{end}")
    assert [row[2] for row in reading.rows] == [1, 2]
    assert reading.refused == [("", "torn_line")]


def test_a_quote_that_is_not_closed_costs_its_line_alone(read):
    rows = [f"2014-12-31 00:00:{i:02d};flow;;{i}\n" for i in range(60)]
    rows[7] = '2014-12-31 00:00:07;"flow;;7\n'
    reading = read(LONG + "".join(rows))
    assert [row[2] for row in reading.rows] == [i for i in range(60) if i != 7]
    assert reading.refused == [("", "torn_line")]


def test_a_cell_without_end_costs_its_line_alone(read):
    reading = read(f'{LONG}2014-12-31 00:00;"{"x" * 200_000}";;1\n2014-12-31 00:00;flow;;2\n')
    assert [row[2] for row in reading.rows] == [2]
    assert reading.refused == [("", "torn_line")]
    assert len(reading.rejections[0].detail) < 200


def test_a_decimal_comma_between_commas_is_not_taken_for_two_numbers(read):
    reading = read("date,flow,water\n2014-12-31 00:00,5,25,6\n2014-12-31 00:00,5.25,6\n")
    assert [row[2] for row in reading.rows] == [5.25, 6]
    assert reading.refused == [("", "too_many_cells")]


def test_what_is_not_configured_is_named_once(read):
    reading = read(LONG + "2014-12-31 00:00;pump;;1\n2014-12-31 00:00;flow;;2\n2014-12-31 00:00;pump;;3\n" * 3)
    assert [row[2] for row in reading.rows] == [2, 2, 2]
    assert [note.rpartition("h.csv: ")[2] for note in reading.notes] == [
        "a row per change, tag in 'nom', value in 'nouvelle valeur'",
        "left out, no configured tag: 'pump'",
    ]
    wide = read("date;pump;flow;\x1b[2J\n2014-12-31 00:00;1;2;3\n")
    assert wide.rows == [("hx/flow", 0, 2)]
    assert [note.rpartition("h.csv: ")[2] for note in wide.notes] == [
        r"a column per tag; left out, no configured tag: 'pump', '\x1b[2J'"
    ]
    many = read(f"date;flow;{';'.join(f'p{i}' for i in range(500))}\n")
    assert "'p19' and 480 more" in many.notes[0]
    assert len(many.notes[0]) < 1000


# --- what is no history --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected a header and rows, found an empty file"),
        (b"\xef\xbb\xbf", "found an empty file"),
        (b" \n\n\r\n", "found an empty file"),
        (b"2014-12-31 00:00;flow;;5\n", "line 1: expected a header with a date column (date, time, timestamp"),
        (b"\n\na;b\n", "line 3: expected a header with a date column"),
        (b"date;pump\n", "line 1: expected a column of a configured tag (débit, flow, water), found 'date;pump"),
        (b"date\n", "expected a column of a configured tag"),
        (b"date;flow;flow\n", "line 1: expected one column of hx/flow, found another: 'flow'"),
        (b"PK\x03\x04\0\0date;flow\n", "found binary data"),
        (b"date;flow\nx;1\ny;1\n", "line 2: expected a date (2014-12-31 23:00 or 31/12/2014 23:00), found 'x'"),
        (b"date;flow\n" + b"x;1\n" * 50 + b"2014-12-31 00:00;1\n", "line 2: expected a date"),
    ],
    ids=["empty", "BOM alone", "blank", "no header", "no date", "no tag", "date alone", "twice", "binary", "dateless", "late"],
)  # fmt: skip
def test_what_is_no_history_is_one_sentence(read, content, said):
    with pytest.raises(HistoryError) as caught:
        read(content)
    assert said in str(caught.value)
    assert "h.csv" in str(caught.value)


def test_a_header_is_judged_before_the_first_sample_is_asked_for(tmp_path):
    path = tmp_path / "h.csv"
    path.write_text("a;b\n")
    with pytest.raises(HistoryError):
        read_history(path, tags=TAGS)


def test_a_file_of_words_is_given_up_after_its_first_rows(tmp_path):
    path = tmp_path / "h.csv"
    path.write_text(WIDE + "word;1;2\n" * 10_000)
    rejections: list[Rejection] = []
    with pytest.raises(HistoryError, match="line 2: expected a date"):
        list(read_history(path, tags=TAGS, reject=rejections.append))
    assert len(rejections) == PATIENCE + 1


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_a_file_that_cannot_be_read_is_said(tmp_path, what):
    path = tmp_path / "h.csv"
    if what == "folder":
        path.mkdir()
    with pytest.raises(HistoryError, match="expected a file that can be read, found: "):
        read_history(path, tags=TAGS)


def test_a_long_history_is_read_line_by_line(tmp_path):
    path = tmp_path / "h.csv"
    with path.open("w") as file:
        file.write(WIDE)
        file.writelines(f"2014-12-31 {i // 3600:02d}:{i // 60 % 60:02d}:{i % 60:02d};{i};\n" for i in range(80_000))
        file.write("torn")
    samples = read_history(path, tags=TAGS)
    assert [next(samples).value for _ in range(3)] == [0, 1, 2]
    path.write_text(WIDE)  # what had been read ahead is little
    assert len(list(samples)) < 5000


# --- anything at all -----------------------------------------------------------------------------------------------------

CELLS = st.sampled_from(
    ["date", "heure", "flow", "water", "nom", "value", "31/12/2014 23:00", "2014-02-30", "9999-12-31 23:59", "5,1", "1e400",
     "nan", '"', "", " ", "sep=", "\0", "é"]
)  # fmt: skip
TEXTS = st.lists(st.lists(CELLS | st.text(max_size=5), max_size=5), max_size=8)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("history") / "h.csv"


@settings(max_examples=300, deadline=None)
@given(
    content=st.binary(max_size=200)
    | st.builds(
        lambda head, rows, delimiter, end, tear: "".join(
            [head.replace(";", delimiter), *(delimiter.join(row) + end for row in rows)]
        ).encode(errors="replace")[: tear or None],
        st.sampled_from([LONG, WIDE, "", "Date;Heure;flow\n", "\ufeff" + WIDE]),
        TEXTS,
        st.sampled_from(";,\t"),
        st.sampled_from(["\n", "\r\n", "\r"]),
        st.integers(-3, 0),
    )
)
@example(content=b"\xff\xfe\n")
@example(content=b"\xff\xfed\0a\0t")
@example(content=b"\xef\xbb")
@example(content=b'date;flow\n"' + b"x" * 140_000)
def test_never_anything_but_a_history_error(scratch, content):
    scratch.write_bytes(content)
    said = ""
    try:
        reading = Reading(scratch, "America/New_York")
    except HistoryError as error:
        said = str(error)
    if said:
        assert said.startswith(str(scratch))
        return
    for sample in reading.samples:
        assert sample.value is not None and math.isfinite(sample.value)
        assert sample.tag in TAGS.values()
        assert sample.source_at.tzinfo is UTC
    assert all(len(r.detail) < 1000 for r in reading.rejections)
