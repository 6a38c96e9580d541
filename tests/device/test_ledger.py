"""The ledger: what it records, and that no change of it goes unnoticed."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from spinml.device.ledger import Ledger, default_ledger
from spinml.errors import DeviceError
from spinml.privacy.leakage import measure_leakage
from spinml.privacy.sanitizer import sanitize
from tests.photos import request_of, segmented

SERVER = "https://spinml.example"


@pytest.fixture(scope="module")
def shared():
    sanitized = sanitize(request_of("L2", "L1"), [segmented()])
    return sanitized.bundle, measure_leakage(sanitized).as_dict()


@pytest.fixture
def book(tmp_path, shared):
    book = Ledger(tmp_path / "deep" / "ledger.jsonl")
    bundle, mi = shared
    book.sending(SERVER, bundle, mi)
    book.accepted(SERVER, bundle, "run-1")
    book.sending(SERVER, bundle, mi)
    book.failed(SERVER, bundle, "server_unavailable")
    return book


def test_entries_say_what_was_shared(book, shared):
    first, second, _, last = book.entries()
    target, background = first.segments
    assert (first.state, first.server, first.bundle) == ("sending", SERVER, shared[0].digest)
    assert (target.scheme, target.images, target.feature) == ("L2", 1, None)
    assert (background.scheme, background.feature) == ("L1", "canny")
    assert target.bytes == len(shared[0].segment("target").images[0])
    assert target.mi_histogram > 0.5
    assert (second.state, second.run) == ("accepted", "run-1")
    assert (last.state, last.error) == ("failed", "server_unavailable")
    assert book.verify() == last.hash


def test_noise_is_recorded(tmp_path):
    sanitized = sanitize(request_of("L2", noise={"target": 10}), [segmented()])
    book = Ledger(tmp_path / "ledger.jsonl")
    book.sending(SERVER, sanitized.bundle, measure_leakage(sanitized).as_dict())
    target, background = book.entries()[0].segments
    assert target.noise_sigma == 10
    assert (target.how, background.how) == ("L2 (noise σ 10)", "L0")
    book.verify()


def test_entries_from_before_there_was_noise_keep_their_hash(book):
    """Without noise an entry is written, and hashed, as it always was."""
    segments = json.loads(book.path.read_text().splitlines()[0])["segments"]
    assert set(segments[0]) == {
        "name", "scheme", "feature", "images", "bytes", "sha256", "mi_histogram", "mi_regional",
    }  # fmt: skip


def test_only_the_owner_may_read_it(book):
    assert stat.S_IMODE(book.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda lines: lines[:1] + lines[2:], 2),
        (lambda lines: [lines[1], lines[0], *lines[2:]], 1),
        (lambda lines: [lines[0].replace(SERVER, "https://x.example"), *lines[1:]], 1),
        (lambda lines: [*lines[:2], "{}\n", *lines[2:]], 3),
        (lambda lines: [*lines[:3], lines[3][:40]], 4),
        (lambda lines: [*lines[:3], lines[3].rstrip()], 4),
    ],
    ids=["removed", "swapped", "changed", "put in", "torn", "unended"],
)
def test_damage_is_found_where_it_is(book, damage, line):
    book.path.write_text("".join(damage(book.path.read_text().splitlines(keepends=True))))
    with pytest.raises(DeviceError, match=f"line {line}"):
        book.verify()


def test_nothing_is_added_to_a_torn_ledger(book, shared):
    whole = book.path.read_text()
    book.path.write_text(whole[:-30])
    with pytest.raises(DeviceError, match="damaged"):
        book.sending(SERVER, *shared)
    assert book.path.read_text() == whole[:-30]


def test_writers_at_once_keep_the_chain(tmp_path, shared):
    book = Ledger(tmp_path / "ledger.jsonl")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: book.accepted(SERVER, shared[0], f"run-{i}"), range(24)))
    book.verify()
    assert len(book.entries()) == 24


def test_an_empty_ledger_is_whole(tmp_path):
    assert Ledger(tmp_path / "none.jsonl").verify() == "0" * 64


def test_a_place_that_cannot_be_written(tmp_path, shared):
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="nothing was sent"):
        Ledger(tmp_path / "file" / "ledger.jsonl").sending(SERVER, *shared)


@pytest.mark.parametrize("damaged", [True, False])
def test_what_left_is_told_when_the_ledger_fails_afterwards(tmp_path, shared, damaged):
    path = tmp_path / "ledger.jsonl"
    if damaged:
        path.write_text("{")
    else:
        path.mkdir()
    book, (bundle, mi) = Ledger(path), shared
    with pytest.raises(DeviceError, match="nothing was sent"):
        book.sending(SERVER, bundle, mi)
    for record, told in ((book.accepted, "is run r-7"), (book.failed, "with the error r-7")):
        with pytest.raises(DeviceError, match=told) as caught:
            record(SERVER, bundle, "r-7")
        assert "nothing" not in caught.value.message


def test_the_environment_names_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("SPINML_LEDGER", str(tmp_path / "mine.jsonl"))
    assert default_ledger() == tmp_path / "mine.jsonl"


def test_lines_hold_no_content(book):
    for line in book.path.read_text().splitlines():
        assert "living room" not in line
        assert len(json.loads(line)["hash"]) == 64
