"""Download one file from an address that somebody typed: only from hosts that were allowed, and never from inside.

The name is resolved once, every address it has is checked, and the connection goes to the checked address itself; so a
name that answers differently the second time gains nothing. Each redirect is checked the same way.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from adproof.imports.problems import BadImport

MAX_REDIRECTS = 5
_PIECE = 1 << 18
_PORTS = (80, 443)
_PLAIN = "/%:@!$&'()*+,;=~-._?"
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO)  # ours, and not the other side's
Resolve = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """Every address of a name. Raises OSError: it has none."""
    return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})


@dataclass(frozen=True)
class Rules:
    """hosts: may be fetched from; ".example.org" stands for all below it. private_hosts: of those, the ones that may lie
    on this machine or in the private network, and may have any port. seconds: for the whole download.
    """

    hosts: Collection[str]
    private_hosts: Collection[str] = ()
    max_bytes: int = 2**30
    seconds: float = 600
    resolve: Resolve = field(default=resolve)


def check_address(url: str, rules: Rules) -> tuple[SplitResult, str]:
    """The parsed address, and the network address to connect to. Raises BadImport with what to do."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise BadImport(f"{url[:120]!r} is no address: write it as https://host/path.") from error
    host = (parts.hostname or "").rstrip(".").lower()
    if parts.scheme not in ("http", "https") or not host:
        raise BadImport(f"{url[:120]!r} is no web address: write it as https://host/path.")
    if parts.username or parts.password:
        raise BadImport("Leave the name and password out of the address.")
    if "\\" in url or any(letter.isspace() or not letter.isprintable() for letter in url):
        # Others read such an address in other ways, and may see another host in it.
        raise BadImport(f"{url[:120]!r} holds blanks or backslashes: write them as %20 and %5C.")
    if not _is_allowed(host, rules.hosts):
        listed = ", ".join(sorted(rules.hosts)) or "none so far"
        raise BadImport(f"{host} is not on the list of hosts to import from ({listed}): ask an operator to add it (IMPORT_HOSTS).")
    if port not in _PORTS and host not in rules.private_hosts:
        raise BadImport(f"Port {port} is not fetched from: leave it out, or ask an operator (IMPORT_PRIVATE_HOSTS).")
    try:
        found = rules.resolve(host, port)
    except (OSError, UnicodeError) as error:  # a part of the name may be too long to be one
        raise BadImport(f"{host} has no address ({error}): check its spelling.") from error
    if host not in rules.private_hosts:
        for address in found:
            if not _is_public(address):
                raise BadImport(f"{host} leads to {address}, inside of this network: nothing is fetched from there.")
    if not found:
        raise BadImport(f"{host} has no address: check its spelling.")
    return parts, found[0]


def _is_allowed(host: str, hosts: Collection[str]) -> bool:
    return any(host == one.lower() or (one.startswith(".") and host.endswith(one.lower())) for one in hosts)


def _is_public(address: str) -> bool:
    """Not private, loopback, link-local, shared, reserved or multicast; nor such a one wrapped in IPv6."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(str(inner))
        if ip.is_site_local:  # given up long ago, and still routed inside of some networks
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def fetch(url: str, folder: Path, rules: Rules, tell: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Download into `folder`, under the last part of the address. Half a file is never left there.

    tell: called with (bytes so far, bytes in all or 0); may raise to stop.
    Raises: BadImport: not allowed, not found, too large, too slow, or cut short.
    """
    until = time.monotonic() + rules.seconds
    for _ in range(MAX_REDIRECTS + 1):
        parts, address = check_address(url, rules)
        sock, connection = _connected(parts, address, until)
        # Whatever the other side trickles, byte by byte: at the end of its time it is cut off.
        clock = threading.Timer(max(0.1, until - time.monotonic()), _cut, [sock])
        clock.daemon = True
        clock.start()
        try:
            if isinstance(sock, ssl.SSLSocket):
                sock.do_handshake()
            connection.request("GET", _path(parts), headers={"User-Agent": "adproof", "Accept-Encoding": "identity"})
            response = connection.getresponse()
            if response.status in (301, 302, 303, 307, 308):
                url = _next(url, response.getheader("Location", ""))
                continue
            if response.status != 200:
                raise BadImport(f"{parts.hostname} answered {response.status} {response.reason}: check the address.")
            return _save(response, folder / _file_name(parts), rules, until, tell)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in _DISK:
                raise
            raise BadImport(f"{parts.hostname} gave no whole answer ({error or type(error).__name__}): try again.") from error
        finally:
            clock.cancel()
            connection.close()
    raise BadImport(f"{url[:120]} leads on and on: more than {MAX_REDIRECTS} redirects.")


def _path(parts: SplitResult) -> str:
    """What is asked for, in ASCII; what is quoted already stays as it is."""
    return quote(parts.path or "/", safe=_PLAIN) + (f"?{quote(parts.query, safe=_PLAIN)}" if parts.query else "")


def _next(url: str, location: str) -> str:
    try:
        # A header comes as Latin-1, whatever it was written in.
        return urljoin(url, location.encode("latin-1", "replace").decode("utf-8", "replace"))
    except ValueError as error:
        raise BadImport(f"{url[:120]} leads to {location[:80]!r}, which is no address.") from error


def _cut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _file_name(parts: SplitResult) -> str:
    name = PurePosixPath(unquote(parts.path)).name
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name).lstrip(".")
    return kept[-100:] or "download"


def _connected(
    parts: SplitResult, address: str, until: float
) -> tuple[socket.socket, http.client.HTTPConnection]:
    """To the checked address, whatever the name may say by now; TLS is checked against the name, in a handshake to come."""
    host, wait = parts.hostname or "", max(0.1, min(30.0, until - time.monotonic()))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    connection = http.client.HTTPConnection(host, port, timeout=wait)
    try:
        sock = socket.create_connection((address, port), wait)
        if parts.scheme == "https":
            context = ssl.create_default_context()
            sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    except (OSError, ValueError) as error:
        raise BadImport(f"{host} can't be reached ({error}): try again later.") from error
    connection.sock = sock
    if parts.scheme == "https":
        connection.default_port = 443  # or it would name the port beside the host
    return sock, connection


def _save(
    response: http.client.HTTPResponse, place: Path, rules: Rules, until: float, tell: Callable[[int, int], None]
) -> Path:
    total, done = response.length or 0, 0  # as http.client has read it: 0 if it is missing, or no sane number
    too_large = BadImport(f"The file has more than {rules.max_bytes / 1e6:,.0f} MB: copy it to the server by other means.")
    if total > rules.max_bytes:
        raise too_large
    draft = place.with_name(place.name + ".part")
    try:
        with draft.open("wb") as file:
            while piece := response.read1(_PIECE):
                done += len(piece)
                if done > rules.max_bytes:
                    raise too_large
                if time.monotonic() > until:
                    break
                file.write(piece)
                tell(done, total)
            file.flush()
            os.fsync(file.fileno())
        if time.monotonic() > until:  # then its end may only be where we cut it off
            raise BadImport(f"The download took longer than {rules.seconds:,.0f} s: copy the file by other means.")
        if done < total:
            raise BadImport(f"The download ended after {done:,} of {total:,} bytes: try again.")
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)
    return place
