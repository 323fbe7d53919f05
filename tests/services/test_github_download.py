"""Downloading assets: two ways to the bytes, and what happens on them."""

import logging
import threading
from collections.abc import Iterator

import pytest

from dispatchd.errors import Gone, Unauthorized, Unavailable
from dispatchd.services.github import GitHub, RemoteAsset
from tests.github_standin import faults
from tests.github_standin.content import Content
from tests.github_standin.faults import Fault
from tests.services.github_world import REPO, SECRET, Lab, running_lab

DATA = bytes(range(256)) * 4096


@pytest.fixture
def lab() -> Iterator[Lab]:
    with running_lab() as running:
        running.repository.release("v1").asset("host.efi", DATA)
        yield running


def listed(lab: Lab) -> RemoteAsset:
    return lab.github.release_by_tag(*REPO, "v1").assets[0]


def bytes_of(github: GitHub, asset: RemoteAsset, offset: int = 0) -> bytes:
    with github.open_asset(asset, offset=offset) as stream:
        return b"".join(stream.chunks)


def test_with_a_token_the_api_is_asked_and_the_store_never_sees_the_token(lab: Lab) -> None:
    asset = listed(lab)
    with lab.github.open_asset(asset) as stream:
        assert (stream.offset, stream.total) == (0, len(DATA))
        assert b"".join(stream.chunks) == DATA
    (asked,) = lab.standin.received("GET", f"/assets/{asset.id}")
    assert asked.headers["authorization"] == f"Bearer {SECRET}"
    assert asked.headers["accept"] == "application/octet-stream"
    (stored,) = lab.standin.received("GET", port="store")
    assert "authorization" not in stored.headers
    assert stored.headers["accept-encoding"] == "identity"


def test_without_a_token_the_public_address_is_used_and_no_api(lab: Lab) -> None:
    asset = listed(lab)
    lab.token = None
    assert bytes_of(lab.github, asset) == DATA
    assert lab.standin.received("GET", f"/assets/{asset.id}") == []
    assert len(lab.standin.received("GET", port="store")) == 2


@pytest.mark.parametrize("trouble", [faults.html(504), faults.reset()], ids=["504", "reset"])
def test_a_public_address_in_trouble_gives_way_to_the_api(lab: Lab, trouble: Fault) -> None:
    asset = listed(lab)
    lab.token = None
    lab.standin.faults.next("GET", "*/download/*", trouble)
    assert bytes_of(lab.github, asset) == DATA
    assert len(lab.standin.received("GET", f"/assets/{asset.id}")) == 1


def test_the_api_may_send_the_bytes_itself(lab: Lab) -> None:
    lab.standin.api.redirects_assets = False
    assert bytes_of(lab.github, listed(lab)) == DATA
    assert lab.standin.received("GET", port="store") == []


def test_an_asset_of_a_private_repository_that_was_renamed_is_found(lab: Lab) -> None:
    lab.repository.private = True
    asset = listed(lab)
    lab.standin.rename("AMDEPYC/sev-certify", "AMDEPYC/certify")
    assert bytes_of(lab.github, asset) == DATA


def test_a_download_goes_on_where_it_stopped(lab: Lab) -> None:
    with lab.github.open_asset(listed(lab), offset=1000) as stream:
        assert (stream.offset, stream.total) == (1000, len(DATA))
        assert b"".join(stream.chunks) == DATA[1000:]


def test_a_source_that_ignores_ranges_starts_over(lab: Lab) -> None:
    lab.standin.store.ranges = False
    with lab.github.open_asset(listed(lab), offset=1000) as stream:
        assert (stream.offset, stream.total) == (0, len(DATA))
        assert b"".join(stream.chunks) == DATA


def test_an_offset_beyond_the_end_starts_over(lab: Lab) -> None:
    with lab.github.open_asset(listed(lab), offset=len(DATA)) as stream:
        assert stream.offset == 0
        assert b"".join(stream.chunks) == DATA


def test_a_range_that_was_not_asked_for_is_not_taken(lab: Lab) -> None:
    lab.standin.faults.next("GET", "/store/*", Fault(headers={"Content-Range": "bytes 0-9/10"}))
    with pytest.raises(Unavailable, match="bytes from 1000"):
        bytes_of(lab.github, listed(lab), 1000)


def test_a_download_that_ends_early_says_so(lab: Lab) -> None:
    lab.standin.faults.next("GET", "/store/*", faults.truncated(300_000))
    with pytest.raises(Unavailable, match=r"download host\.efi: the connection broke after \d+"):
        bytes_of(lab.github, listed(lab))


def test_a_download_that_falls_silent_says_so(lab: Lab) -> None:
    released = threading.Event()
    lab.standin.faults.next("GET", "/store/*", faults.slow(released))
    asset = listed(lab)
    with lab.client(timeout=(5.0, 0.2)) as impatient, pytest.raises(Unavailable, match="silent"):
        bytes_of(impatient, asset)
    released.set()


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_signed_address_that_expired_is_asked_for_again_next_time(lab: Lab, status: int) -> None:
    expired = faults.expired_signature()
    fault = Fault(status=status, headers=expired.headers, body=expired.body)
    lab.standin.faults.next("GET", "/store/*", fault)
    asset = listed(lab)
    with pytest.raises(Unavailable, match=f"127.0.0.1 answered {status}"):
        bytes_of(lab.github, asset)
    assert bytes_of(lab.github, asset) == DATA
    first, second = lab.standin.received("GET", port="store")
    assert first.target != second.target


def test_no_signed_address_is_ever_shown(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    asset = listed(lab)
    shown = ""
    for fault in (faults.expired_signature(), faults.reset(), faults.truncated(9), Fault()):
        lab.standin.faults.next("GET", "/store/*", fault)
        try:
            bytes_of(lab.github, asset)
        except Unavailable as error:
            shown += f"{error} {error.hint}"
    assert len(lab.standin.received("GET", port="store")) == 4
    assert "cannot download host.efi" in shown
    assert "sig=" not in shown + caplog.text
    assert SECRET not in shown + caplog.text


@pytest.mark.parametrize("token", [True, False])
def test_an_asset_that_was_deleted_is_gone(lab: Lab, token: bool) -> None:
    asset = listed(lab)
    if not token:
        lab.token = None
    lab.repository.release("v1").asset("host.efi", DATA + b"new")
    if not token:
        lab.repository.delete_release("v1")
    with pytest.raises(Gone, match=r"download host\.efi") as caught:
        bytes_of(lab.github, asset)
    assert "load it again" in caught.value.hint


def test_a_refused_download_is_told_like_every_refusal(lab: Lab) -> None:
    asset = listed(lab)
    for fault, error in (
        (faults.bad_token(), Unauthorized),
        (faults.not_permitted("contents=read"), Unauthorized),
        (faults.secondary_limit(retry_after="5"), Unavailable),
        (faults.html(502), Unavailable),
    ):
        lab.standin.faults.next("GET", "*/assets/*", fault)
        with pytest.raises(error, match="cannot download"):
            bytes_of(lab.github, asset)


def test_redirects_in_a_circle_end(lab: Lab) -> None:
    asset = listed(lab)
    around = Fault(status=302, headers={"Location": "/store/again?sig=x"})
    lab.standin.faults.next("GET", "/store/*", around, times=5)
    with pytest.raises(Unavailable, match="redirects"):
        bytes_of(lab.github, asset)


def test_a_body_that_comes_encoded_is_not_taken_for_the_asset(lab: Lab) -> None:
    lab.standin.faults.next("GET", "/store/*", Fault(headers={"Content-Encoding": "gzip"}))
    with pytest.raises(Unavailable, match="encoded as gzip"):
        bytes_of(lab.github, listed(lab))


def test_wrong_bytes_come_through_for_the_digest_to_find(lab: Lab) -> None:
    lab.standin.faults.next("GET", "/store/*", faults.wrong_bytes())
    asset = listed(lab)
    wrong = bytes_of(lab.github, asset)
    assert len(wrong) == asset.size
    assert Content(wrong).sha256 != asset.sha256
