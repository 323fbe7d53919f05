"""Addresses: where a secret may go, and what may be shown of them; and whom TLS is to trust."""

import ipaddress
import os
from urllib.parse import urlsplit

from dispatchd.errors import ConfigError

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def origin_of(url: str) -> tuple[str, str, int]:
    """Return scheme, name and port, what RFC 6454 calls an origin. ("", "", 0) for no address."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return ("", "", 0)
    return (parts.scheme, parts.hostname or "", port)


def place(url: str) -> str:
    """Return the name in an address, which may be shown where the rest may not."""
    return origin_of(url)[1] or "no address"


def api_origin(api_url: str) -> tuple[str, str, int]:
    """Return the origin of the API; raises ConfigError where the setting is no such address."""
    origin = origin_of(api_url)
    parts = urlsplit(api_url) if origin[1] else None
    if parts is None or origin[0] not in ("http", "https") or parts.username or parts.query:
        raise ConfigError(
            f"cannot use [github] api_url {api_url!r}: it is no plain http or https address",
            hint="https://api.github.com, or https://NAME/api/v3 for GitHub Enterprise Server",
        )
    return origin


def is_loopback(name: str) -> bool:
    """Whether a name in an address means this machine, so that nothing leaves it."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def trusted(ca_bundle: str) -> str | bool:
    """Return the PEM file to trust: the setting, else the environment's, else True (built in).

    Raises ConfigError where it is not there: `requests` would say so at every request.
    """
    named = [("[github] ca_bundle", ca_bundle)]
    named += [(name, os.environ.get(name, "")) for name in _CA_VARIABLES]
    for name, path in named:
        if path and not os.path.exists(path):
            raise ConfigError(
                f"cannot use {name} {path!r}: there is no such file",
                hint="name a PEM file with the certificates to trust",
            )
        if path:
            return path
    return True
