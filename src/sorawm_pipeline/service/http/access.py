"""Who may use the API: the token, sessions that stand for it, and how often somebody may ask."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from sorawm_pipeline.errors import ConfigError

LEAST_TOKEN = 16
"""Characters that a token must have at least."""

MOST_TOKEN = 4096
SESSIONS, SESSION_S = 256, 30 * 86_400.0
"""Most sessions kept at once, the oldest go first, and seconds that one lasts."""

CLIENTS, BURST = 1024, 4.0
"""Addresses whose rate is remembered, and seconds' worth of requests that may come at once."""


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` can be reached from its own machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(path: Path) -> str:
    """The secret in a file, white space at its ends aside.

    Raises:
        ConfigError: it cannot be read, or is too short, too long or not ASCII.
    """
    try:
        with path.open("rb") as file:
            token = file.read(MOST_TOKEN + 1).strip()
    except OSError as error:
        raise ConfigError(f"service.token_file {path}: {error.strerror or error}") from error
    if not LEAST_TOKEN <= len(token) <= MOST_TOKEN or not token.isascii():
        raise ConfigError(
            f"service.token_file {path} must hold {LEAST_TOKEN} to {MOST_TOKEN} ASCII characters; "
            "`openssl rand -hex 32` makes some"
        )
    return token.decode()


class Access:
    """Decides whether a request may come in.

    Args:
        token: the secret; None: everybody may.
        clock: seconds that do not jump.
    """

    def __init__(self, token: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = None if token is None else _digest(token)
        self._clock = clock
        self._sessions: OrderedDict[bytes, float] = OrderedDict()

    @property
    def needed(self) -> bool:
        return self._token is not None

    def allows(self, authorization: str | None, session: str | None) -> bool:
        """Whether an `Authorization` header or a session's cookie opens the door."""
        if self._token is None:
            return True
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(token.strip()):
            return True
        return session is not None and self._sessions.get(_digest(session), 0.0) > self._clock()

    def is_token(self, token: str) -> bool:
        """Compared in constant time, as digests, so that not even the length shows."""
        return self._token is not None and hmac.compare_digest(_digest(token), self._token)

    def open_session(self) -> str:
        """A secret that stands for the token, for `SESSION_S` seconds at most."""
        session = secrets.token_urlsafe(32)
        self._sessions[_digest(session)] = self._clock() + SESSION_S
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def close_session(self, session: str) -> None:
        self._sessions.pop(_digest(session), None)


class Rate:
    """So many requests per second for each client, `BURST` seconds' worth of them at once.

    A token bucket; of the clients that were not heard of for long the oldest are forgotten.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._most = max(1.0, per_second * BURST)
        self._clock = clock
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, client: str) -> bool:
        now = self._clock()
        left, since = self._clients.pop(client, (self._most, now))
        left = min(self._most, left + (now - since) * self._rate)
        allowed = left >= 1
        self._clients[client] = (left - 1 if allowed else left), now
        while len(self._clients) > CLIENTS:
            self._clients.popitem(last=False)
        return allowed


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
