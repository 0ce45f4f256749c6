"""What the status of a response means: success, a fault that may pass, or a final one."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from tasks.errors import HaloInvalid, HaloRefused
from tasks.redaction import LONGEST, foreign_text, redact_address
from tasks.retry_policy import RETRYABLE_STATUSES, RetryableFault
from tasks.time_window import as_utc

if TYPE_CHECKING:
    import httpx

_LIKE_A_KEY = re.compile(r"[A-Za-z0-9+/_-]{16,}=*")


def check_status(response: httpx.Response) -> None:
    """Do nothing for 200.

    Raises:
        RetryableFault: The request is sent again: 408, 425, 429, 5xx.
        HaloRefused: 401 or 403.
        HaloInvalid: Any other.
    """
    status = response.status_code
    if status == HTTPStatus.OK:
        return
    said = f"HTTP {status}{detail(response)}"
    if status in RETRYABLE_STATUSES or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        throttled = status == HTTPStatus.TOO_MANY_REQUESTS
        raise RetryableFault(said, retry_after(response), throttled=throttled)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise HaloRefused(
            f"the key may log in and not list events ({said}): give it read access, or add this "
            "machine's address to its authorized IP addresses (Halo portal, API keys)"
        )
    if response.is_redirect or response.has_redirect_location:
        location = response.headers.get("location", "")
        target = redact_address(location) if "//" in location else "another of its pages"
        raise HaloInvalid(
            f"the API redirects to {target} (HTTP {status}), which is not "
            "followed: the key goes to HALO_API_URL alone; set HALO_API_URL to the new address if "
            "you trust it"
        )
    raise HaloInvalid(f"the API does not understand the query ({said}); is HALO_API_URL right?")


def detail(response: httpx.Response) -> str:
    """The text of an error response, with a colon in front."""
    words = excerpt(response.content)
    return f": {words}" if words else ""


def excerpt(body: bytes) -> str:
    """The beginning of a response's text, on one line, as a message may show it.

    Whatever looks like a key or a token is masked: a response may repeat the request.
    """
    text = body[: 4 * LONGEST].decode("utf-8", "replace")
    if text.lstrip().startswith("<"):
        return "an HTML page"
    return foreign_text(" ".join(_LIKE_A_KEY.sub("***", text).split()))


def retry_after(response: httpx.Response) -> float | None:
    """Seconds of `Retry-After` (RFC 9110, section 10.2.3), a number or a date; None without.

    A date is compared with the API's own `Date`, where it gives one.
    """
    text = response.headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        moment = http_date(text)
        if moment is None:
            return None
        now = http_date(response.headers.get("date", "")) or datetime.now(UTC)
        return max(0.0, (moment - now).total_seconds())
    return max(0.0, seconds) if math.isfinite(seconds) else None


@lru_cache(8)
def http_date(text: str) -> datetime | None:
    """An HTTP date (RFC 9110, section 5.6.7) as aware UTC; None where the text is no date."""
    try:
        return as_utc(parsedate_to_datetime(text))
    except (ValueError, TypeError, OverflowError):
        return None
