"""Tokens: when one is asked for, and when the running one ends.

The end is read from the token itself (JWT `exp` in the second part, PASETO v4.public in the payload); the signature is
the server's business. A token whose end cannot be read is asked for anew with every connection.
"""

from __future__ import annotations

import base64
import inspect
import json
import time
from datetime import datetime
from typing import Any, Awaitable, Callable, Dict, Optional, Union

from .errors import TokenError

GetToken = Callable[[], Union[str, Awaitable[str]]]
_SIGNATURE_BYTES = 64  # Ed25519, behind the payload of a PASETO
_MARGIN_MOST = 60.0


def claims(token: str) -> Dict[str, Any]:
    """The claims of a token, unchecked; {} for a token that cannot be read."""
    parts = token.split(".")
    try:
        if token.startswith("v4.public."):
            body = _decode(parts[2])[:-_SIGNATURE_BYTES]
        else:
            body = _decode(parts[1])
        found = json.loads(body)
    except (ValueError, IndexError):
        return {}
    return found if isinstance(found, dict) else {}


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _seconds(value: Any) -> Optional[float]:
    if isinstance(value, (int, float)):
        return float(value)
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
        except ValueError:
            return None
    return None


class Tokens:
    """The running token and the function that makes the next one."""

    def __init__(self, get_token: Optional[GetToken], token: Optional[str]) -> None:
        self._get_token = get_token
        self._fixed = token
        self._token: Optional[str] = None
        self._refused: Optional[str] = None
        self._was_refused = False
        self._renew_at: Optional[float] = None  # a monotonic time

    def is_running(self, token: str) -> bool:
        return token == self._token

    async def current(self) -> Optional[str]:
        """The token for a connection; None when the application has named none and the server has not asked for one.
        TokenError: there will be none that the server takes."""
        if self._token is None or self._renew_at is None or time.monotonic() >= self._renew_at:
            self.take(await self.fresh())
        if self._was_refused and self._token == self._refused:
            raise TokenError("the server has refused this token" if self._token else "the server wants a token")
        return self._token

    async def fresh(self) -> Optional[str]:
        """Asks the application. Raises the exceptions of its function, and TokenError when the function gives none."""
        if self._get_token is None:
            return self._fixed
        answer = self._get_token()
        token = await answer if inspect.isawaitable(answer) else answer
        if not token or not isinstance(token, str):
            raise TokenError("get_token gave no token")
        return token

    def take(self, token: Optional[str], expires_at: Optional[float] = None) -> None:
        """The token that runs from now on."""
        self._token = token
        said = claims(token or "")
        end = expires_at if expires_at is not None else _seconds(said.get("exp"))
        self._renew_at = None
        if end is None:
            return
        now = time.time()
        issued = _seconds(said.get("iat"))
        left = end - now
        if left <= 0 and issued is not None:  # this clock is wrong: the lifetime alone can be believed
            left = end - issued
        # A quarter of what is left, a minute at most, is for the renewal.
        self._renew_at = time.monotonic() + max(0.0, left - min(_MARGIN_MOST, left / 4))

    def refuse(self) -> None:
        """The server does not take the running token (any more)."""
        self._refused, self._was_refused, self._token = self._token, True, None

    def renew_in(self) -> Optional[float]:
        """Seconds until the running token is to be renewed; None: never."""
        if self._get_token is None or self._renew_at is None:
            return None
        return max(0.0, self._renew_at - time.monotonic())
