"""History kept in InfluxDB: InfluxQL against a real server, Flux against an answer in its own form."""

from __future__ import annotations

import threading
import urllib.request
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from stream.sources.history import HistoryError
from stream.sources.query import query_influxdb

if TYPE_CHECKING:
    from collections.abc import Iterator

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
ANNOTATED = (
    "#datatype,string,long,dateTime:RFC3339,double,string,string,string,string\r\n"
    "#group,false,false,false,false,true,true,true,true\r\n"
    "#default,_result,,,,,,,\r\n"
    ",result,table,_time,_value,_field,_measurement,asset,tag\r\n"
    ",,0,2026-07-01T12:00:00Z,4.5,value,sample,hx,water\r\n"
    ",,0,2026-07-01T12:01:00Z,,value,sample,hx,water\r\n"
    ",,0,2026-07-01T12:02:00Z,4.75,value,sample,hx,water\r\n\r\n"
)


class Standin(BaseHTTPRequestHandler):
    answers: list[tuple[int, str, str]]

    def do_POST(self) -> None:
        assert self.path.startswith("/api/v2/query?org=plant")
        assert self.headers["Authorization"] == "Token secret"
        self.reply()

    def do_GET(self) -> None:
        self.reply()

    def reply(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, kind, body = self.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def standin() -> Iterator[tuple[str, list[tuple[int, str, str]]]]:
    answers: list[tuple[int, str, str]] = []
    server = HTTPServer(("127.0.0.1", 0), type("Answering", (Standin,), {"answers": answers}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    thread.join()
    server.server_close()


def test_influxql_gives_a_tag_per_series(influxd) -> None:
    micros = int(NOON.timestamp() * 1e6)
    body = f"sample,asset=hx,tag=water value=4.5 {micros}\nsample,asset=hx,tag=flow value=1.5 {micros}\n"
    urllib.request.urlopen(f"{influxd.url}/write?db=givre&precision=u", body.encode(), timeout=10).close()
    found = query_influxdb(influxd.url, 'SELECT value FROM sample GROUP BY asset, "tag"', database="givre")
    assert {(s.tag, s.source_at, s.value) for s in found} == {("hx/water", NOON, 4.5), ("hx/flow", NOON, 1.5)}


def test_flux_gives_a_tag_per_table_and_leaves_blanks_out(standin) -> None:
    url, answers = standin
    answers.append((200, "text/csv", ANNOTATED))
    found = list(query_influxdb(url, 'from(bucket: "givre") |> range(start: 0)', org="plant", token="secret"))
    assert [(s.tag, s.source_at, s.value) for s in found] == [
        ("hx/water", NOON, 4.5),
        ("hx/water", NOON.replace(minute=2), 4.75),
    ]


def test_what_a_server_refuses_is_said_in_its_words(standin) -> None:
    url, answers = standin
    answers.append((401, "application/json", '{"code":"unauthorized","message":"unauthorized access"}'))
    with pytest.raises(HistoryError, match=r"expected rows, found 401 .*unauthorized access"):
        list(query_influxdb(url, "from(bucket: 1)", org="plant", token="secret"))
    answers.append((400, "application/json", '{"error":"error parsing query: found SELEKT"}'))
    with pytest.raises(HistoryError, match="found 400 error parsing query: found SELEKT"):
        list(query_influxdb(url, "SELEKT", database="givre"))
    answers.append((200, "text/html", "<html>Welcome</html>"))
    with pytest.raises(HistoryError, match="expected JSON, found 200"):
        list(query_influxdb(url, "SELECT 1", database="givre"))


def test_no_rows_are_an_error(standin) -> None:
    url, answers = standin
    answers.append((200, "application/json", '{"results":[{"statement_id":0}]}'))
    with pytest.raises(HistoryError, match="expected rows, found none"):
        list(query_influxdb(url, "SELECT value FROM sample", database="givre"))


def test_an_answer_that_was_cut_short_is_no_history(standin) -> None:
    url, answers = standin
    series = '{"name":"sample","columns":["time","value"],"values":[[0,1.0]],"partial":true}'
    answers.append((200, "application/json", f'{{"results":[{{"series":[{series}]}}]}}'))
    with pytest.raises(HistoryError, match="the server cut the answer short"):
        list(query_influxdb(url, "SELECT value FROM sample", database="givre"))


def test_a_server_that_is_not_there_is_named_without_its_login(free_port: int) -> None:
    with pytest.raises(HistoryError, match=rf"InfluxDB at http://127.0.0.1:{free_port}: expected an answer") as failed:
        list(query_influxdb(f"http://me:hidden@127.0.0.1:{free_port}", "SELECT 1", database="givre"))
    assert "hidden" not in str(failed.value)
    with pytest.raises(HistoryError, match="expected an answer"):
        list(query_influxdb(f"http://127.0.0.1:{free_port}", "from(bucket: 1)", org="plant", token="secret"))
