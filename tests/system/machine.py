"""A machine on the cable of the container: firmware and beacon, by hand."""

import http.client
from dataclasses import dataclass

from tests.e2e.netns import Namespace

HERE, MACHINE = "10.88.0.1", "10.88.0.7"
FIRMWARE, BEACON = "UefiHttpBoot/1.0", "beacon/1.1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Machine:
    """Speaks to the boot port from a network stack of its own. Give it a namespace with a cable."""

    def __init__(self, namespace: Namespace, *, port: int = 8080) -> None:
        self.namespace = namespace
        self.port = port

    def boot(self) -> Answer:
        """HEAD and GET, as firmware does; what it was handed."""
        announced = self.ask("HEAD")
        handed = self.ask("GET")
        assert (announced.status, handed.status) == (200, 200)
        assert int(announced.headers["Content-Length"]) == len(handed.body)
        assert announced.headers["ETag"] == handed.headers["ETag"]
        return handed

    def ask(self, method: str, body: bytes | None = None) -> Answer:
        """One request on a connection of its own. Raises OSError where it is refused."""
        with self.namespace.entered():
            connection = http.client.HTTPConnection(HERE, self.port, timeout=30)
            try:
                agent = FIRMWARE if method in ("HEAD", "GET") else BEACON
                headers = {"User-Agent": agent, "Accept": "*/*"}
                connection.request(method, "/dispatch", body, headers)
                answer = connection.getresponse()
                return Answer(status=answer.status, headers=answer.headers, body=answer.read())
            finally:
                connection.close()
