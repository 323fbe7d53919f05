"""The stand-in as a program, for whole-process tests and for trying things out by hand.

    python -m tests.github_standin --token T --release OWNER/REPO@TAG --asset PATH --asset NAME=1MiB

prints its API's URL as the first line, and runs until SIGTERM or SIGINT. The requests it got are
written to stdout as JSON, one a line, when it ends.
"""

import argparse
import json
import re
import signal
import threading
from pathlib import Path

from tests.github_standin.server import GitHubStandIn
from tests.github_standin.world import Release

_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="github_standin")
    parser.add_argument("--port", type=int, default=0, help="of the API; 0 takes a free one")
    parser.add_argument("--store-port", type=int, default=0, help="of the asset store")
    parser.add_argument("--token", action="append", default=[], help="let this token in")
    parser.add_argument("--no-push", action="store_true", help="the tokens may not push")
    parser.add_argument("--private", action="store_true", help="the repository is private")
    parser.add_argument("--release", default="lab/images@devel", help="OWNER/REPO@TAG")
    parser.add_argument("--asset", action="append", default=[], help="a file, or NAME=SIZE")
    parser.add_argument("--milestone", action="append", default=[], help="a title")
    return parser.parse_args()


def _add(release: Release, asset: str) -> None:
    made_up = re.fullmatch(r"(.+)=(\d+)(|KiB|MiB|GiB)", asset)
    if made_up:
        release.asset(made_up[1], size=int(made_up[2]) * _UNITS[made_up[3]])
    else:
        release.asset(Path(asset).name, Path(asset).read_bytes())


def main() -> None:
    arguments = _arguments()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with GitHubStandIn(port=arguments.port, store_port=arguments.store_port) as github:
        for token in arguments.token:
            github.token(token, push=not arguments.no_push)
        name, _, tag = arguments.release.partition("@")
        repository = github.repository(name, private=arguments.private)
        release = repository.release(tag, prerelease=True)
        for asset in arguments.asset:
            _add(release, asset)
        for title in arguments.milestone:
            repository.milestone(title)
        print(github.api_url, flush=True)
        stopping.wait()
    for one in github.requests:
        print(json.dumps({"port": one.port, "method": one.method, "target": one.target}))
    for violation in github.violations:
        print(json.dumps({"violation": violation}))


if __name__ == "__main__":
    main()
