"""Many machines on one asset that is not here yet: it comes once, over a source that is slow."""

from collections.abc import Iterator
from pathlib import Path

from bench.servers import Dispatchd
from bench.storm import Storm
from bench.table import Row
from dispatchctl.client import Client
from dispatchd import wire
from tests.github_standin import GitHubStandIn
from tests.github_standin.faults import throttled

MACHINES = 32
SIZE = 128 << 20
#: Bytes a second that the source gives.
RATE = 32 << 20


def rows(directory: Path) -> Iterator[Row]:
    """One storm, on a dispatchd of its own, against the stand-in for GitHub."""
    with GitHubStandIn() as github:
        github.repository("lab/images").release("v1").asset("asset.efi", size=SIZE)
        github.faults.next("GET", "*", throttled(RATE), times=1000)
        more = f'[github]\napi_url = "{github.api_url}"\n'
        with Dispatchd(directory / "dispatchd", more=more) as dispatchd:
            client = Client(dispatchd.directory / "control.sock")
            pools = [f"p{number}" for number in range(MACHINES)]
            for number, pool in enumerate(pools):
                change = wire.MachineChange(pool=pool)
                client.send("PUT", f"/v1/machines/m{number}", change, wire.Machine)
            with Storm(dispatchd.port, "/dispatch/m{}", MACHINES, at_least=SIZE) as storm:
                request = wire.LoadRequest(
                    owner="lab", repo="images", tag="v1", pools=pools, file=False
                )
                client.send("POST", "/v1/releases", request, wire.LoadAnswer)
                storm.begin()
                outcome = storm.outcome()
        fetched = [one for one in github.received("GET", port="store") if "/store/" in one.path]
    taken = sum(_asked(one.headers.get("range")) for one in fetched)
    ratio = taken / SIZE
    yield Row(
        what=f"bytes taken from the source for {MACHINES} machines",
        measured=f"{ratio:.2f} × the asset",
        target="1 ×",
        met=ratio == 1,
    )
    yield Row(
        what=f"cold: the first and the last of {MACHINES} machines have it",
        measured=f"after {outcome.last[0]:.1f} and {outcome.last[-1]:.1f} s",
        beside=f"the source alone takes {SIZE / RATE:.1f} s",
    )


def _asked(range_: str | None) -> int:
    """How many bytes a request asked for, given its Range."""
    if range_ is None:
        return SIZE
    first = int(range_.removeprefix("bytes=").partition("-")[0])
    return SIZE - first
