"""Fetching one file over HTTPS: bounded in size and time, believed only by its digest."""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import time
import urllib.error
import urllib.request
from http.client import HTTPMessage
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from sorawm_pipeline.errors import ConfigError, ModelError
from sorawm_pipeline.media.target import write_error

MAX_BYTES = 2 << 30
SILENCE_S = 30.0
"""Longest wait for the server's next bytes."""
TOTAL_S = 3600.0
_CHUNK = 1 << 16


def check_url(url: str) -> None:
    """Refuse what is not a plain HTTPS address; HTTP is for servers on this machine.

    Raises:
        ConfigError: another scheme, no host, or a password in it.
    """
    try:
        parts = urlsplit(url)
        host, secret = parts.hostname, parts.username or parts.password
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"--url {url!a} is no address: {error}") from error
    if secret is not None:
        raise ConfigError("--url must not hold a user name or password: it is written down")
    if not url.isascii() or not url.isprintable() or " " in url or not host:
        raise ConfigError(f"--url {url!a} is no address that can be asked")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise ConfigError(f"--url {url}: only https is taken (http only from this machine)")


def download(url: str, target: Path, sha256: str, *, max_bytes: int = MAX_BYTES) -> int:
    """Write the file at `url` to the new file `target`; return its bytes.

    When anything goes wrong, an interrupt included, what has come so far is the caller's to remove.

    Args:
        url: checked as by `check_url`; redirects are followed to https only.
        target: must not exist; its folder must.
        sha256: hex digest that the content must have.
        max_bytes: a longer body is refused.

    Raises:
        ConfigError: the URL is not taken.
        ModelError: the server cannot be reached, refuses, is too slow, or sends something else.
        OutputError: `target` cannot be written; kind `no_space` when the disk is full.
    """
    check_url(url)
    try:
        with _opener(url).open(url, timeout=SILENCE_S) as response:
            return _received(response, url, target, sha256, max_bytes)
    except urllib.error.HTTPError as error:
        with error:
            raise ModelError(f"{url} answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelError(f"{url} cannot be fetched: {reason or type(error).__name__}") from error


def _received(
    response: http.client.HTTPResponse, url: str, target: Path, sha256: str, max_bytes: int
) -> int:
    promised = response.headers.get("Content-Length")
    expected = int(promised) if promised and promised.isdecimal() else None
    if (expected or 0) > max_bytes:
        raise ModelError(f"{url} is {expected} bytes long; at most {max_bytes} are taken")
    try:
        with target.open("xb") as file:
            count, digest = _copied(response, file, url, max_bytes)
    except OSError as error:
        raise write_error(target, error) from error
    if expected is not None and count != expected:
        raise ModelError(f"{url} is cut short: {count} of {expected} bytes came")
    if digest != sha256.lower():
        raise ModelError(f"{url} is not the file it should be: its SHA-256 is {digest}")
    return count


def _copied(
    response: http.client.HTTPResponse, file: IO[bytes], url: str, max_bytes: int
) -> tuple[int, str]:
    """Bytes written, and their SHA-256; the disk's errors are OSErrors, the network's are not."""
    deadline = time.monotonic() + TOTAL_S
    digest = hashlib.sha256()
    count = 0
    while chunk := _next_chunk(response, url):
        count += len(chunk)
        if count > max_bytes:
            raise ModelError(f"{url} is longer than the {max_bytes} bytes that are taken")
        if time.monotonic() > deadline:
            raise ModelError(f"{url} did not come within {TOTAL_S:.0f} s")
        digest.update(chunk)
        file.write(chunk)
    return count, digest.hexdigest()


def _next_chunk(response: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return response.read1(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise ModelError(f"{url} broke off: {error or type(error).__name__}") from error


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https, and to nothing else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https":
            fp.close()
            raise ModelError(f"{req.full_url} redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> urllib.request.OpenerDirector:
    """An opener that knows HTTP and HTTPS; the stock one also opens files, data and FTP."""
    opener = urllib.request.OpenerDirector()
    if not _is_loopback(urlsplit(url).hostname or ""):
        opener.add_handler(urllib.request.ProxyHandler())
    for handler in (
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        _HttpsRedirects,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
