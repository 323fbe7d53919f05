"""The boot port as firmware and the beacon speak to it, byte for byte, through a real daemon."""

import hashlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.daemon import QUIET, RunningDaemon
from tests.eventually import eventually

#: Seconds that EDK2 waits for an answer (PcdHttpIoTimeout).
FIRMWARE = 5


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RunningDaemon]:
    with RunningDaemon(tmp_path / "dispatchd", settings=QUIET) as daemon:
        yield daemon


@pytest.fixture
def image(tmp_path: Path) -> bytes:
    content = os.urandom(300_000)
    directory = tmp_path / "images"
    directory.mkdir()
    (directory / "a.efi").write_bytes(content)
    (directory / "b.iso").write_bytes(content[:1000])
    return content


def ask(
    daemon: RunningDaemon,
    method: str,
    path: str = "/dispatch",
    body: bytes | None = None,
    source: str = "127.0.0.1",
    timeout: float = 30,
    **headers: str,
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(
        "127.0.0.1", daemon.port, timeout=timeout, source_address=(source, 0)
    )
    spoken = {"User-Agent": "UefiHttpBoot/1.0", "Accept": "*/*"}
    spoken |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, spoken)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer, data


def load(daemon: RunningDaemon, tmp_path: Path) -> None:
    daemon.ctl("load", "--dir", str(tmp_path / "images"))


def test_head_and_get_on_one_connection_give_the_same(
    tmp_path: Path, daemon: RunningDaemon, image: bytes
) -> None:
    load(daemon, tmp_path)
    request = b" /dispatch HTTP/1.1\r\nHost: 10.0.2.2\r\nAccept: */*\r\n"
    request += b"User-Agent: UefiHttpBoot/1.0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=30) as firmware:
        firmware.sendall(b"HEAD" + request)
        announced = b""
        while b"\r\n\r\n" not in announced:
            announced += firmware.recv(65536)
        lines = announced.split(b"\r\n")
        assert lines[0] == b"HTTP/1.1 200 OK"
        assert lines[1] == b"Content-Length: 300000"
        assert b"Content-Type: application/efi" in lines
        etag = hashlib.sha256(image).hexdigest().encode()
        assert [line for line in lines if line.lower() == b'etag: "' + etag + b'"']
        assert b"accept-ranges" not in announced.lower()
        assert b"connection" not in announced.lower()
        firmware.sendall(b"GET" + request)
        received = b""
        while len(received.partition(b"\r\n\r\n")[2]) < len(image):
            received += firmware.recv(1 << 20)
        head, _, body = received.partition(b"\r\n\r\n")
        assert body == image
        assert head.split(b"\r\n")[1:] == [line for line in lines if line][1:]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_the_length_is_the_first_header_even_of_a_connection_that_is_to_be_closed(
    tmp_path: Path, daemon: RunningDaemon, image: bytes, method: str
) -> None:
    load(daemon, tmp_path)
    answer, body = ask(daemon, method, Connection="close")
    assert answer.getheaders()[0] == ("Content-Length", "300000")
    assert answer.getheader("Connection") == "close"
    assert body == (image if method == "GET" else b"")


def test_a_resumed_download_gets_the_rest_and_a_changed_one_412(
    tmp_path: Path, daemon: RunningDaemon, image: bytes
) -> None:
    load(daemon, tmp_path)
    announced, _ = ask(daemon, "HEAD")
    etag = announced.getheader("ETag") or ""
    answer, body = ask(daemon, "GET", Range="bytes=1000-299999", If_Match=etag)
    assert answer.status == 206
    assert answer.getheader("Content-Range") == "bytes 1000-299999/300000"
    assert answer.getheader("ETag") == etag
    assert answer.getheader("Content-Type") == "application/efi"
    assert body == image[1000:]
    assert ask(daemon, "GET", Range="bytes=-10")[1] == image[-10:]
    assert ask(daemon, "GET", Range="bytes=1000-", If_Match='"other"')[0].status == 412
    assert ask(daemon, "GET", Range="bytes=300000-")[0].status == 416
    assert ask(daemon, "GET", Range="bytes=0-1,5-6")[1] == image
    past = "Thu, 01 Jan 1970 00:00:00 GMT"
    assert ask(daemon, "GET", Range="bytes=1-", If_Unmodified_Since=past)[0].status == 412
    assert ask(daemon, "GET", Range="bytes=1-", If_Range='"other"')[0].status == 200


def test_the_beacon_is_understood_as_it_speaks(
    tmp_path: Path, daemon: RunningDaemon, image: bytes
) -> None:
    load(daemon, tmp_path)
    assert ask(daemon, "POST", body=b"")[0].status == 417
    assert ask(daemon, "PUT", body=b'{"title":"too early"}')[0].status == 417
    ask(daemon, "HEAD")
    ask(daemon, "GET")
    assert ask(daemon, "POST", body=b"")[0].status == 200
    # serde leaves out empty lists and an absent body.
    sent = b'{"title":"ubuntu 25.10","labels":["proc-7003"],"milestone":"c3.0.0-0"}'
    answer, body = ask(daemon, "PUT", body=sent, Content_Type="application/json")
    assert (answer.status, body) == (200, b"")
    assert ask(daemon, "PUT", body=sent)[0].status == 200
    (report,) = daemon.status()["workloads"][0]["reports"]
    assert (report["title"], report["state"]) == ("ubuntu 25.10", "kept")


@pytest.mark.parametrize("is_claimed", [True, False])
def test_no_machine_writes_lines_or_commands_on_the_operators_terminal(
    tmp_path: Path, daemon: RunningDaemon, image: bytes, is_claimed: bool
) -> None:
    load(daemon, tmp_path)
    if is_claimed:
        ask(daemon, "GET")
    title = "one\n\x1b[31mtwo\x1b]0;name\x07\r\x9b2J three"
    sent = json.dumps({"title": title, "body": f"line\n{title}"}).encode()
    assert ask(daemon, "PUT", body=sent)[0].status == (200 if is_claimed else 417)
    answer = json.loads(daemon.ctl("reports", "--json"))
    (report,) = answer["reports"] or answer["unclaimed"]
    assert report["title"] == "one two2J three"
    said = [["status"], ["show", "a.efi"], ["reports"], ["events"]]
    for command in [*said, ["reports", "show", report["id"]]]:
        shown = daemon.ctl(*command).replace("\n", "")
        assert not [char for char in shown if unicodedata.category(char) == "Cc"], command
    assert any("one two2J three" in line for line in daemon.log)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"not json", 400),
        (b'{"title": 5}', 400),
        (b'{"body": "no title"}', 400),
        (b'{"title": "\xff"}', 400),
        (b'{"title": "x", "labels": [1]}', 400),
        (b'{"title": "x", "more": ' + b"[" * 5000 + b"]" * 5000 + b"}", 400),
        (b'{"title": "x", "body": "' + b"y" * 4_194_304 + b'"}', 413),
        (b'{"title": "", "body": null, "assignees": null, "unknown": 1}', 200),
    ],
)
def test_a_report_that_is_none_is_refused_and_kept(
    tmp_path: Path, daemon: RunningDaemon, image: bytes, body: bytes, status: int
) -> None:
    load(daemon, tmp_path)
    ask(daemon, "GET")
    answer, said = ask(daemon, "PUT", body=body)
    assert (answer.status, said) == (status, b"")
    kept = daemon.ctl("reports")
    assert ("Unclaimed" in kept) == (status != 200)


@pytest.mark.parametrize(
    "path",
    [
        "/dispatch/",
        "/dispatch.efi",
        "/DISPATCH.EFI".replace("DISPATCH", "dispatch"),
        "/dispatch//epyc-07",
        "/dispatch/EPYC-07.iso",
        "/dispatch?x.efi",
        "/dispatch/epyc-07/?a=b",
    ],
)
def test_every_way_of_writing_the_path_boots(daemon: RunningDaemon, path: str) -> None:
    for method in ("HEAD", "GET"):
        assert ask(daemon, method, path)[0].status == 200
    assert ask(daemon, "POST", path, body=b"")[0].status == 417


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/grubx64.efi",
        "/dispatch/grubx64.efi",
        "/dispatch/shimx64.efi",
        "/dispatch/revocations_sbat.efi",
        "/dispatch/mmx64.efi",
        "/dispatch/a/b",
        "/dispatch/../etc/passwd",
        "/dispatch/%00",
        "/dispatch/-x",
        "/dispatch/" + "x" * 65536,
    ],
)
def test_every_other_path_is_not_found_and_changes_nothing(
    tmp_path: Path, daemon: RunningDaemon, image: bytes, path: str
) -> None:
    load(daemon, tmp_path)
    answer, body = ask(daemon, "GET", path)
    assert (answer.status, body, answer.getheader("Content-Length")) == (404, b"", "0")
    assert daemon.states() == ["unassigned", "unassigned"]


def test_other_methods_are_not_allowed(daemon: RunningDaemon) -> None:
    for method in ("DELETE", "OPTIONS", "PATCH", "BREW"):
        answer, _ = ask(daemon, method)
        assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD, POST, PUT")
        assert ask(daemon, method, "/elsewhere")[0].status == 404


def test_people_and_programs_get_a_page_that_claims_nothing(
    tmp_path: Path, daemon: RunningDaemon, image: bytes
) -> None:
    load(daemon, tmp_path)
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    answer, body = ask(daemon, "GET", Accept=browser)
    assert (answer.getheader("Content-Type") or "").startswith("text/html")
    assert b"a.efi" in body
    answer, body = ask(daemon, "GET", Accept="application/json")
    assert answer.getheader("Content-Type") == "application/json"
    assert b'"counts"' in body
    assert daemon.states() == ["unassigned", "unassigned"]


def test_an_acknowledged_report_and_a_heads_promise_survive_a_power_cut(
    tmp_path: Path, daemon: RunningDaemon, image: bytes
) -> None:
    load(daemon, tmp_path)
    ask(daemon, "HEAD", "/dispatch/one")
    ask(daemon, "GET", "/dispatch/one")
    assert ask(daemon, "PUT", "/dispatch/one", body=b'{"title":"kept"}')[0].status == 200
    promised, _ = ask(daemon, "HEAD", "/dispatch/two")
    daemon.kill()
    daemon.start()
    answer, body = ask(daemon, "GET", "/dispatch/two")
    assert answer.getheader("ETag") == promised.getheader("ETag")
    assert body == image[:1000]
    reports = [row["reports"] for row in daemon.status()["workloads"]]
    assert [report["title"] for report in reports[0]] == ["kept"]


def test_a_database_that_does_not_answer_makes_machines_wait_and_loses_nothing(
    tmp_path: Path, daemon: RunningDaemon, image: bytes
) -> None:
    load(daemon, tmp_path)
    database = sqlite3.connect(daemon.directory / "state/dispatchd.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    announced, _ = ask(daemon, "HEAD")
    assert announced.status == 200
    refused, _ = ask(daemon, "PUT", body=b'{"title":"x"}')
    assert (refused.status, refused.getheader("Retry-After")) == (503, "5")
    database.execute("ROLLBACK")
    database.close()
    answer, body = ask(daemon, "GET")
    assert answer.getheader("ETag") == announced.getheader("ETag")
    assert body != image
    again, _ = ask(daemon, "HEAD")
    assert again.getheader("Content-Length") == str(len(image))
    assert ask(daemon, "GET")[1] == image


def test_what_a_head_announced_is_given_though_the_database_does_not_answer_since(
    tmp_path: Path, daemon: RunningDaemon, image: bytes
) -> None:
    load(daemon, tmp_path)
    ask(daemon, "HEAD")
    with closing(sqlite3.connect(daemon.directory / "state/dispatchd.db")) as database:
        database.execute("BEGIN IMMEDIATE")
        assert ask(daemon, "GET")[1] == image
    eventually(lambda: "downloading" in daemon.states())


def test_firmware_has_its_answer_though_what_was_sent_cannot_be_written_down(
    tmp_path: Path, daemon: RunningDaemon, image: bytes
) -> None:
    load(daemon, tmp_path)
    ask(daemon, "HEAD", "/dispatch/one")
    port = daemon.port
    database = sqlite3.connect(daemon.directory / "state/dispatchd.db", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    # Its GET needs the database: the bytes that it gets are noted by whoever comes next.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=FIRMWARE)
    connection.request("GET", "/dispatch/one")
    assert connection.getresponse().status == 200
    connection.close()
    for number in range(3):
        announced, _ = ask(daemon, "HEAD", f"/dispatch/other-{number}", timeout=FIRMWARE)
        assert announced.status == 200
    database.execute("ROLLBACK")
    database.close()


def test_a_whole_lab_has_its_answers_while_the_database_is_locked(
    tmp_path: Path, daemon: RunningDaemon, image: bytes
) -> None:
    load(daemon, tmp_path)
    promised, _ = ask(daemon, "HEAD", "/dispatch/early")
    asked = [f"/dispatch/machine-{number}" for number in range(120)]

    def power_on(path: str) -> int:
        return ask(daemon, "HEAD", path, timeout=FIRMWARE)[0].status

    with closing(sqlite3.connect(daemon.directory / "state/dispatchd.db")) as database:
        database.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(len(asked)) as pool:
            assert set(pool.map(power_on, asked)) == {200}
        given, _ = ask(daemon, "GET", "/dispatch/early", timeout=FIRMWARE)
    assert given.getheader("ETag") == promised.getheader("ETag")


def test_a_report_far_too_large_is_read_to_its_end_and_its_beginning_kept(
    tmp_path: Path, daemon: RunningDaemon, image: bytes
) -> None:
    load(daemon, tmp_path)
    ask(daemon, "GET")
    sent = b'{"title": "x", "body": "' + b"y" * (80 << 20) + b'"}'
    answer, said = ask(daemon, "PUT", body=sent)
    assert (answer.status, said) == (413, b"")
    (kept,) = json.loads(daemon.ctl("reports", "--json"))["unclaimed"]
    assert kept["size"] == 4_194_304


def test_stopping_is_clean_and_a_dead_socket_is_replaced(daemon: RunningDaemon) -> None:
    assert daemon.stop() == 0
    assert daemon.log[-1].endswith("stopped (SIGTERM)")
    daemon.start()
    daemon.kill()
    assert daemon.socket.exists()
    daemon.start()
    assert daemon.status()["counts"]["unassigned"] == 0


def test_a_second_daemon_on_the_same_state_or_socket_or_port_is_refused(
    tmp_path: Path, daemon: RunningDaemon
) -> None:
    with pytest.raises(AssertionError, match="another dispatchd runs on it"):
        RunningDaemon(daemon.directory, settings=QUIET).start()
    other = RunningDaemon(tmp_path / "other", listen=f"127.0.0.1:{daemon.port}", settings=QUIET)
    with pytest.raises(AssertionError, match=r"the port is in use by \S+ \(pid \d+\)"):
        other.start()
    (daemon.directory / "state/lock").unlink()
    with pytest.raises(AssertionError, match="a dispatchd answers there already"):
        RunningDaemon(daemon.directory, settings=QUIET).start()
    assert daemon.status()["paused"] is False


def test_wrong_settings_end_with_78_and_name_file_key_and_reason(tmp_path: Path) -> None:
    daemon = RunningDaemon(tmp_path, settings="[boot2]\nlisten = 1\n")
    with pytest.raises(AssertionError, match=r"dispatchd\.toml: boot2: unknown key"):
        daemon.start()
    assert daemon._process is not None
    assert daemon._process.wait() == 78


def test_a_damaged_database_is_told_in_one_line(tmp_path: Path) -> None:
    daemon = RunningDaemon(tmp_path, settings=QUIET)
    (tmp_path / "state").mkdir()
    (tmp_path / "state/dispatchd.db").write_bytes(b"no database" * 1000)
    with pytest.raises(AssertionError, match="cannot open the database"):
        daemon.start()
    assert daemon._process is not None
    assert daemon._process.wait() == 1
    assert len(daemon.log) == 1


def test_sigint_stops_it_too(daemon: RunningDaemon) -> None:
    assert daemon._process is not None
    daemon._process.send_signal(signal.SIGINT)
    assert daemon._process.wait(30) == 0


def test_a_knock_is_remembered_even_when_it_was_a_tls_hello(daemon: RunningDaemon) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=30) as firmware:
        firmware.sendall(b"\x16\x03\x01\x00\x10")
        assert firmware.recv(10) == b""
    eventually(lambda: (daemon.status()["knock"] or {}).get("request") == "tls hello")
