"""Logging in, without a server: requests go out of a generator, answers come back into it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from tasks.errors import HaloInvalid, HaloRefused
from tasks.halo.auth import ApiKey, BearerAuth
from tasks.retry_policy import RetryableFault

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = "https://api.example.com"
SECRET = "s3cret-of-the-key"


class Api:
    """Answers logins and listings; `tokens` are those that it accepts."""

    def __init__(self) -> None:
        self.tokens: set[str] = set()
        self.logins = 0
        self.seen: list[httpx.Request] = []
        self.grant: Callable[[int], httpx.Response] = self.good_grant
        self.refuses_with = 401
        self.keeps = True

    @staticmethod
    def good_grant(number: int) -> httpx.Response:
        """A token that lives for 15 minutes."""
        return httpx.Response(200, json={"access_token": f"token-{number}", "expires_in": 900})

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        self.seen.append(request)
        if request.url.path == "/oauth/access_token":
            self.logins += 1
            response = self.grant(self.logins)
            if self.keeps and response.content.startswith(b'{"access_token"'):
                self.tokens.add(json.loads(response.content)["access_token"])
            return response
        token = request.headers["Authorization"].removeprefix("Bearer ")
        return httpx.Response(200 if token in self.tokens else self.refuses_with)


@pytest.fixture
def api() -> Api:
    """An API that knows one key."""
    return Api()


async def ask(api: Api, auth: BearerAuth, url: str = BASE + "/v1/events") -> int:
    """Send a request with its authentication; the status of the last answer."""
    flow = auth.async_auth_flow(httpx.Request("GET", url))
    outgoing = await anext(flow)
    while True:
        await asyncio.sleep(0)
        response = api.answer(outgoing)
        await asyncio.sleep(0)
        try:
            outgoing = await flow.asend(response)
        except StopAsyncIteration:
            return response.status_code


def make() -> BearerAuth:
    """The authentication of the one key."""
    return BearerAuth(BASE, ApiKey("key", SECRET))


def test_a_token_is_used_until_it_ends(api: Api) -> None:
    """Any number of requests, one after another or at once, share one login."""

    async def run() -> list[int]:
        auth = make()
        await ask(api, auth)
        return await asyncio.gather(*(ask(api, auth) for _ in range(20)))

    assert asyncio.run(run()) == [200] * 20
    assert api.logins == 1


def test_requests_at_once_share_the_first_login(api: Api) -> None:
    """The first requests of an account wait for one login, made as Halo wants it."""

    async def run() -> list[int]:
        auth = make()
        return await asyncio.gather(*(ask(api, auth) for _ in range(20)))

    assert asyncio.run(run()) == [200] * 20
    assert api.logins == 1
    login = api.seen[0]
    assert login.method == "POST"
    assert str(login.url) == BASE + "/oauth/access_token?grant_type=client_credentials"
    assert login.headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_ended_costs_one_login_and_one_repeat(api: Api, status: int) -> None:
    """Refused in the middle of a listing, requests are repeated once, with one new token."""
    api.refuses_with = status

    async def run() -> list[int]:
        auth = make()
        await ask(api, auth)
        api.tokens.clear()
        return await asyncio.gather(*(ask(api, auth) for _ in range(20)))

    assert asyncio.run(run()) == [200] * 20
    assert api.logins == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_that_lasts_is_no_loop(api: Api, status: int) -> None:
    """Where a new token is refused too, there is no further login, by no request."""
    api.refuses_with = status
    api.keeps = False

    async def run() -> list[int]:
        auth = make()
        found = await asyncio.gather(*(ask(api, auth) for _ in range(20)))
        return [*found, await ask(api, auth)]

    assert asyncio.run(run()) == [status] * 21
    assert api.logins <= 3


def test_tokens_that_end_after_a_few_requests_are_renewed(api: Api) -> None:
    """Tokens that end while others still use them don't make a right key look wrong."""
    used: dict[str, int] = {}
    answer = api.answer

    def limited(request: httpx.Request) -> httpx.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        used[token] = used.get(token, 0) + 1
        if used[token] > 3:
            api.tokens.discard(token)
        return answer(request)

    api.answer = limited  # type: ignore[method-assign]

    async def run() -> list[int]:
        auth = make()
        return await asyncio.gather(*(ask(api, auth) for _ in range(20)))

    assert asyncio.run(run()) == [200] * 20
    assert api.logins < 15


def test_a_token_is_not_begun_with_near_its_end(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute before its end, a token is renewed before it is refused."""
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)

    async def run() -> None:
        nonlocal now
        auth = make()
        await ask(api, auth)
        now += 869
        await ask(api, auth)
        assert api.logins == 1
        now += 2
        await ask(api, auth)
        assert api.logins == 2

    asyncio.run(run())


@pytest.mark.parametrize("said", [None, 0, -5, "900", "soon", 1e30])
def test_any_expiry_is_survived(api: Api, said: object) -> None:
    """Where the API says no usable expiry, the token is used until it is refused."""
    grant = {"access_token": "token-1", "expires_in": said}
    api.grant = lambda _: httpx.Response(200, json=grant)

    async def run() -> None:
        auth = make()
        for _ in range(3):
            assert await ask(api, auth) == 200

    asyncio.run(run())
    assert api.logins == 1


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_key_that_is_refused_stays_refused(api: Api, status: int) -> None:
    """A wrong key is tried once; the error says both causes, and no secret."""
    api.grant = lambda _: httpx.Response(status, text=f"no such secret: {SECRET}")

    async def run() -> list[BaseException | int]:
        auth = make()
        return await asyncio.gather(*(ask(api, auth) for _ in range(5)), return_exceptions=True)

    for error in asyncio.run(run()):
        assert isinstance(error, HaloRefused)
        assert "HALO_AUTH_FILE" in str(error)
        assert "authorized IP addresses" in str(error)
        assert SECRET not in str(error)
    assert api.logins == 1


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(503),
        httpx.Response(429, headers={"Retry-After": "3"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, text="{}"),
        httpx.Response(200, content=b' {"access_token":"\xff"}'),
        httpx.Response(200, content=b'{"x":' + b"[" * 100_000),
        httpx.Response(200, json={"access_token": "two\nlines"}),
    ],
)
def test_a_login_that_fails_otherwise_may_be_tried_again(
    api: Api, response: httpx.Response
) -> None:
    """A login that the API was not able to answer is no refusal, and the next request logs in."""

    async def run() -> None:
        auth = make()
        api.grant = lambda _: response
        with pytest.raises(RetryableFault):
            await ask(api, auth)
        api.grant = api.good_grant
        assert await ask(api, auth) == 200

    asyncio.run(run())


@pytest.mark.parametrize(
    "url",
    ["https://evil.example/v1", "http://api.example.com/v1", "https://api.example.com:444/v1"],
)
def test_no_other_origin_sees_key_or_token(api: Api, url: str) -> None:
    """A request to another host, scheme or port is not sent at all."""
    with pytest.raises(HaloInvalid, match="HALO_API_URL"):
        asyncio.run(ask(api, make(), url))
    assert api.seen == []


def test_the_secret_is_in_no_representation() -> None:
    """A key shows its id alone."""
    assert SECRET not in repr(ApiKey("key", SECRET))
    assert "key" in repr(ApiKey("key", SECRET))
