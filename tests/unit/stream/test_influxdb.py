"""The InfluxDB sink's answers to answers: a real InfluxDB behind it, and in front of that a script of faults."""

from __future__ import annotations

import base64
import ipaddress
import itertools
import json
import re
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors.records import Forecast, Quality, Sample, Status, Verdict
from stream.sinks.influxdb import InfluxSink
from stream.sinks.sink import SinkUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2026, 11, 23, 5, 13, 20, 123457, tzinfo=UTC)
US = 1795410800123457
BEYOND = datetime(2300, 1, 1, tzinfo=UTC)
"""InfluxDB's time ends in 2262: no server takes a point of this moment."""


def sample(i: int, value: float | None = None) -> Sample:
    at = AT + timedelta(seconds=i)
    return Sample(tag="hx/water", value=float(i) if value is None else value, source_at=at, arrived_at=at)


def bad(i: int = 0) -> Sample:
    return Sample(tag="hx/water", value=1.0, source_at=BEYOND + timedelta(i), arrived_at=AT)


@pytest.fixture
async def sink(v2_shim):
    made = v2_sink(v2_shim)
    yield made
    await made.close()


def v2_sink(shim, **changes) -> InfluxSink:
    fields = {"url": shim.url, "bucket": "givre", "org": shim.org, "token": shim.token, "timeout_s": 2.0}
    return InfluxSink(name="store", site="demo", version=2, **{**fields, **changes})


def v1_sink(url: str, **changes) -> InfluxSink:
    return InfluxSink(name="store", site="demo", version=1, url=url, **{"bucket": "givre", "timeout_s": 2.0, **changes})


def values(influxd) -> list[float]:
    return [row["value"] for row in influxd.ask('SELECT "value" FROM "sample"')]


async def unavailable(sink: InfluxSink, records=None) -> SinkUnavailableError:
    with pytest.raises(SinkUnavailableError) as caught:
        await sink.write(records or [sample(0)])
    return caught.value


# --- what is stored ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
async def test_every_value_time_and_text_is_read_back_as_it_was(version, influxd, v2_shim):
    sink = v2_sink(v2_shim) if version == 2 else v1_sink(influxd.url)
    numbers = [0.1, -0.0, 5.0, 1e16, 1e22, 1e-7, 5e-324, 1.7976931348623157e308, -123456.789, 2**53 + 1.0, 1 / 3]
    texts = [
        "plain",
        'a "quoted" word',
        "back\\slash",
        "ends in \\",
        "°C, µ, 冷水 🧊",
        "a,b=c d",
        "#",
        "tab\there",
        "nul\0",
    ]
    records = [sample(i, value) for i, value in enumerate(numbers)]
    records += [Status(subject=f"s{i}", ok=True, detail=text, at=AT) for i, text in enumerate(texts)]
    assert await sink.write(records) == []
    rows = influxd.ask('SELECT * FROM "sample"')
    assert [row["value"] for row in rows] == numbers
    assert [row["time"] for row in rows] == [US + i * 1_000_000 for i in range(len(numbers))]
    assert {row["quality"] for row in rows} == {0}
    said = {row["subject"]: row["detail"] for row in influxd.ask('SELECT * FROM "givre_status"')}
    assert [said[f"s{i}"] for i in range(len(texts))] == texts
    await sink.close()


async def test_whatever_a_text_or_a_number_holds_is_stored_as_one_point(influxd):
    sink = v1_sink(influxd.url)
    counter = itertools.count()

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(
            st.tuples(st.text(min_size=1, max_size=20), st.floats(allow_nan=False, allow_infinity=False)), max_size=8
        )
    )
    def check(content) -> None:
        moments = [AT + timedelta(microseconds=next(counter)) for _ in content]
        records = [
            Sample(tag="hx/w", value=value, source_at=at, arrived_at=at, quality=Quality.UNCERTAIN, reason=text)
            for at, (text, value) in zip(moments, content, strict=True)
        ]
        assert sink._write(records) == []
        if not content:
            return
        first, last = (
            round((at - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
            for at in (moments[0], moments[-1])
        )
        rows = influxd.ask(f'SELECT "value", "reason" FROM "sample" WHERE time >= {first}u AND time <= {last}u')
        assert [float(row["value"]) for row in rows] == [value for _, value in content]
        written = [text.replace("\n", "\\n").replace("\r", "\\r") for text, _ in content]
        assert [row["reason"] for row in rows] == written

    check()
    await sink.close()


async def test_types_do_not_change_whatever_the_first_value_looks_like(influxd):
    sink = v1_sink(influxd.url)
    row = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    for k in (1.0, 1.5):
        records = [
            sample(int(k * 2), k),
            Verdict(tag="hx/w", rule="r", at=AT, score=k, value=k, low=k, high=k, probability=k, lead_s=k),
            Forecast(tag="hx/w", forecaster="f", made_at=AT, period_s=10, quantiles=(tuple(k * q for q in row),)),
        ]
        assert await sink.write(records) == []
    types = {(r["measurement"], r["fieldKey"]): r["fieldType"] for r in influxd.ask("SHOW FIELD KEYS")}
    integers = {("sample", "quality"), ("forecast", "made_at")}
    assert {key for key, kind in types.items() if kind == "integer"} == integers
    assert {kind for key, kind in types.items() if key not in integers} == {"float"}
    await sink.close()


async def test_requests_are_compressed_and_one_per_batch(sink, v2_shim, influxd):
    assert await sink.write([sample(i) for i in range(2000)]) == []
    assert [len(lines) for _, lines in v2_shim.requests] == [2000]
    assert len(values(influxd)) == 2000


# --- what is refused -----------------------------------------------------------------------------------------------------


async def test_one_bad_point_in_a_thousand_costs_itself_alone(sink, influxd, v2_shim):
    records = [sample(i) for i in range(1000)]
    records[617] = bad()
    (refused,) = await sink.write(records)
    assert refused.index == 617
    assert "time outside range" in refused.reason
    assert refused.reason.startswith("400: ")
    assert values(influxd) == [float(i) for i in range(1000) if i != 617]
    assert len(v2_shim.requests) < 30


async def test_a_conflict_of_types_is_refused_in_the_servers_words(sink, influxd):
    line = f"sample,site=demo,asset=hx,tag=flow value=1i {US - 1}".encode()
    urllib.request.urlopen(f"{influxd.url}/write?db=givre&precision=u", line, timeout=5).close()
    records = [
        Sample(tag="hx/flow", value=1.5, source_at=AT, arrived_at=AT),
        Status(subject="s", ok=True, detail="", at=AT),
    ]
    (refused,) = await sink.write(records)
    assert refused.index == 0
    assert "field type conflict" in refused.reason
    assert len(influxd.ask('SELECT * FROM "givre_status"')) == 1


async def test_points_that_are_all_beyond_retention_are_refused_without_asking_for_each(sink, influxd, v2_shim):
    influxd.ask("CREATE RETENTION POLICY short ON givre DURATION 1h REPLICATION 1 DEFAULT")
    long_ago = [sample(-86_400 * 3650 + i) for i in range(3000)]
    refused = await sink.write(long_ago)
    assert [r.index for r in refused] == list(range(3000))
    assert "beyond retention policy" in refused[0].reason
    assert len(v2_shim.requests) == 2  # the batch, and whether the server takes anything at all
    recent = datetime.now(UTC)
    mixed = [*long_ago[:3], Sample(tag="hx/water", value=7.0, source_at=recent, arrived_at=recent), *long_ago[3:5]]
    assert [r.index for r in await sink.write(mixed)] == [0, 1, 2, 4, 5]
    assert values(influxd) == [7.0]


async def test_a_batch_of_bad_points_alone_is_refused_after_the_server_took_a_plain_one(sink, influxd):
    assert [r.index for r in await sink.write([bad(0), bad(1)])] == [0, 1]
    assert [row["ok"] for row in influxd.ask('SELECT * FROM "givre_probe"')] == [1]


@pytest.mark.parametrize("word", ["400", "422", "proxy"])
async def test_who_refuses_everything_has_not_refused_the_points(sink, v2_shim, influxd, word):
    v2_shim.always = word
    error = await unavailable(sink, [sample(i) for i in range(5)])
    assert "it refuses whatever is written (4" in str(error)
    v2_shim.always = ""
    assert await sink.write([sample(i) for i in range(5)]) == []
    assert len(values(influxd)) == 5


async def test_a_missing_organisation_is_no_fault_of_the_points(v2_shim):
    sink = v2_sink(v2_shim, org="")
    assert "Please provide either orgID or org" in str(await unavailable(sink))
    assert "Please provide either orgID or org" in (await sink.probe())[0]
    await sink.close()


async def test_a_batch_that_is_too_large_is_halved_until_it_is_not(sink, v2_shim, influxd):
    v2_shim.most_lines = 300
    assert await sink.write([sample(i) for i in range(1000)]) == []
    assert values(influxd) == [float(i) for i in range(1000)]
    assert [len(lines) for _, lines in v2_shim.requests] == [1000, 500, 250, 250, 500, 250, 250]


async def test_a_record_that_no_point_can_be_made_of_is_refused_and_blocks_nobody(sink, influxd):
    broken = Forecast(tag="hx/water", forecaster="f", made_at=AT, period_s=10, quantiles=((1.0, 2.0),))
    (refused,) = await sink.write([sample(0), broken, sample(1)])
    assert refused.index == 1
    assert "no point can be made of it" in refused.reason
    assert values(influxd) == [0.0, 1.0]


async def test_refusals_are_in_the_order_of_the_records_whoever_refused(sink):
    broken = Forecast(tag="hx/water", forecaster="f", made_at=AT, period_s=10, quantiles=((1.0, 2.0),))
    refused = await sink.write([bad(0), sample(0), broken, bad(1), sample(1), broken])
    assert [r.index for r in refused] == [0, 2, 3, 5]


# --- what may be better later --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "said", "retry_after_s"),
    [
        ("401", "check the token", None),
        ("403", "give it write access", None),
        ("404", "was not found: make it, or correct its name", None),
        ("429:7", "it asked to wait", 7.0),
        ("503:1.5", "(503)", 1.5),
        ("503:9999999", "(503)", 600.0),
        ("503:Wed, 21 Oct 2015 07:28:00 GMT", "(503)", None),
        ("500", "(500)", None),
        ("502", "(502)", None),
        ("html", "it answered (200): <html>", None),
        ("moved", "(301)", None),
        ("cut", "no answer", None),
        ("hang:4", "no answer (ReadTimeoutError)", None),
    ],
)
async def test_what_is_not_stored_is_unavailable_with_a_reason(  # noqa: PLR0917 - fixtures and a table
    sink, v2_shim, influxd, word, said, retry_after_s
):
    v2_shim.script = [word]
    error = await unavailable(sink)
    assert said in str(error)
    assert f"InfluxDB at {v2_shim.url}, bucket givre" in str(error)
    assert error.retry_after_s == retry_after_s
    assert len(v2_shim.requests) == 1
    assert await sink.write([sample(0)]) == []
    assert values(influxd) == [0.0]


@pytest.mark.parametrize("word", ["html", "moved", "cut", "503:1.5"])
async def test_the_older_path_is_as_strict(v2_shim, word):
    sink = v1_sink(v2_shim.url)
    v2_shim.script = [word]
    error = await unavailable(sink)
    assert error.retry_after_s == (1.5 if word.startswith("503") else None)
    assert len(v2_shim.requests) == 1
    await sink.close()


async def test_an_answer_that_was_lost_leaves_each_time_once(sink, v2_shim, influxd):
    v2_shim.script = ["stored"]
    await unavailable(sink, [sample(i) for i in range(100)])
    assert len(values(influxd)) == 100
    assert await sink.write([sample(i) for i in range(100)]) == []
    assert values(influxd) == [float(i) for i in range(100)]


async def test_logins_and_rights_of_an_older_server_are_told_apart(influxd):
    influxd.ask("CREATE USER admin WITH PASSWORD 'root' WITH ALL PRIVILEGES; CREATE USER reader WITH PASSWORD 'r'")
    influxd.stop()
    influxd.start(logins=True)
    cases = [
        ({}, "(401)"),
        ({"username": "reader", "password": "wrong"}, "(401)"),
        ({"username": "reader", "password": "r"}, "(403)"),
        ({"username": "admin", "password": "root", "bucket": "nowhere"}, '(404): database not found: "nowhere"'),
    ]
    for login, expected in cases:
        sink = v1_sink(influxd.url, **login)
        assert expected in str(await unavailable(sink))
        assert expected in (await sink.probe())[0]
        await sink.close()
    sink = v1_sink(influxd.url, username="admin", password="root")
    assert await sink.write([sample(0)]) == []
    assert await sink.probe() == []
    await sink.close()
    assert influxd.ask('SELECT count("value") FROM "sample"', u="admin", p="root")[0]["count"] == 1


async def test_the_probe_stores_nothing_and_sees_a_wrong_token(sink, v2_shim, influxd):
    assert await sink.probe() == []
    assert influxd.ask("SHOW MEASUREMENTS") == []
    wrong = v2_sink(v2_shim, token="old")
    (problem,) = await wrong.probe()
    assert "the login was refused: check the token" in problem
    await wrong.close()


async def test_an_absent_server_is_said_in_the_words_of_the_operating_system(v2_shim, influxd):
    v2_shim.stop()
    influxd.stop()
    for sink in (v2_sink(v2_shim), v1_sink(influxd.url), v1_sink("http://givre.invalid:8086")):
        error = str(await unavailable(sink))
        assert re.search(r"no answer \((Connection refused|.*[Nn]ame.*)\)", error), error
        await sink.close()


# --- TLS -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "private authority")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    words = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*words))
    return path


async def test_a_certificate_is_checked_and_a_private_authority_can_be_named(influxd, certificate, monkeypatch):
    influxd.stop()
    influxd.start(certificate=certificate)
    v2 = {
        "version": 2,
        "name": "store",
        "site": "demo",
        "url": influxd.url,
        "bucket": "givre",
        "org": "o",
        "token": "secret-token",
    }
    for make in (lambda: v1_sink(influxd.url), lambda: InfluxSink(**v2)):
        stranger = make()
        said = str(await unavailable(stranger))
        assert "not secure" in said
        assert "certificate" in said
        await stranger.close()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    sink = v1_sink(influxd.url)
    assert await sink.write([sample(0)]) == []
    await sink.close()
    sink = InfluxSink(**v2)
    assert "(404)" in str(await unavailable(sink)), "it got through, to a server that has no such API"
    await sink.close()


# --- secrets -------------------------------------------------------------------------------------------------------------


async def test_no_secret_is_ever_said(v2_shim, influxd, caplog):
    caplog.set_level(0)
    said = []
    v2 = v2_sink(v2_shim, token="t0ps3cret")
    v1 = v1_sink(re.sub("//", "//user:t0ps3cret@", influxd.url), username="givre", password="t0ps3cret")
    for sink in (v2, v1):
        for word in ("401", "cut", "hang:3", "html"):
            v2_shim.script = [word]
            if sink is v1:
                influxd.kill()
            said.append(str(await unavailable(sink)))
        said += [repr(sink), repr(vars(sink)), *await sink.probe()]
        await sink.close()
    assert "t0ps3cret" not in json.dumps(said) + caplog.text


@pytest.mark.parametrize("version", [1, 2])
async def test_no_secret_is_said_by_who_repeats_the_request(v2_shim, version):
    login = {"username": "givre", "password": "t0ps3cret"}
    sink = v1_sink(v2_shim.url, **login) if version == 1 else v2_sink(v2_shim, token="t0ps3cret")
    v2_shim.script = ["echo", "echo"]
    for said in (str(await unavailable(sink)), *await sink.probe()):
        assert "(502): ?[2JHost: 127.0.0.1" in said
        assert "***" in said
        assert "t0ps3cret" not in said
        assert base64.b64encode(b"givre:t0ps3cret").decode() not in said
    await sink.close()


async def test_a_closed_sink_gives_up_a_batch_that_it_was_dividing(sink, v2_shim):
    records = [bad(i) for i in range(64)]
    real = v2_shim.answer
    answered = itertools.count(1)

    def answer(request) -> None:
        if next(answered) == 3:
            sink._closed = True
        real(request)

    v2_shim.answer = answer
    assert "closed" in str(await unavailable(sink, records))
    assert len(v2_shim.requests) == 3
