"""What Prefect's pages show of a run: a real server, both of its UIs, in a real browser."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from flows.markdown import paragraphs
from sandbox.receiver import Receiver
from tasks.redaction import foreign_text
from tests import browser
from tests.flows.command import EVENTS, command_for
from tests.flows.prefect_api import ask, post

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from sandbox.halo_api import HaloStandIn


pytestmark = pytest.mark.timeout(300)  # a browser beside a server, on a busy machine

UIS = {"old": "", "new": "/v2"}
"""Prefect's UIs, and where each begins."""
ATTACKS = [
    "a|b `code` ``` ~~~ | c",
    "`",
    "```",
    "``` mermaid",
    "~~~",
    " ` `` ",
    "\\` \\| \\",
    "<script>document.title = 'attacked'</script>",
    "<img src=x onerror=\"document.title = 'attacked'\">",
    "</code></p><h1>attacked</h1>",
    "![x](https://attacked.example/x.png)",
    "[x](javascript:document.title='attacked')",
    "https://attacked.example www.attacked.example someone@attacked.example",
    "<https://attacked.example> <!-- x --> &lt;b&gt; &#96;",
    "line\n# attacked\n\n- attacked\r\n> x",
    "# attacked",
    "- [x] attacked",
    "1. attacked",
    "| a |\n| --- |",
    "\u202e\u2066turned\u2069 \u200b\u2028",
    "*a* _b_ **c** ~~d~~ $e$ [^1] :smile: ---",
]


ATTACK = "<script>document.title='attacked'</script>|`[x](javascript:attacked)` ![](attacked)"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for all tests of this module."""
    browser.require()
    with browser.browser() as chromium:
        yield chromium


def latest(server: dict[str, str], key: str) -> dict[str, Any]:
    """The latest artifact of a key."""
    query = {"artifacts": {"key": {"any_": [key]}}, "sort": "CREATED_DESC", "limit": 1}
    return ask(server, "artifacts", **query)[0]


def count(server: dict[str, str], key: str) -> int:
    """How many artifacts there are of a key."""
    return int(post(server, "artifacts/count", {"artifacts": {"key": {"any_": [key]}}}))


def look(
    chromium: Browser,
    server: dict[str, str],
    artifact: str,
    ui: str,
    *,
    sign: str,
    scheme: Any = "light",
) -> Page:
    """The page of an artifact once a text of it is there; the one before is closed."""
    for context in chromium.contexts:
        context.close()  # else it goes on asking the server for news
    page = chromium.new_page(color_scheme=scheme, viewport={"width": 1600, "height": 1000})
    # where the old UI keeps what its Settings page says
    page.add_init_script(f"localStorage.setItem('color-scheme', '\"{scheme}\"')")
    base = server["PREFECT_API_URL"].removesuffix("/api")
    page.goto(f"{base}{UIS[ui]}/artifacts/artifact/{artifact}")
    page.get_by_text(sign, exact=True).filter(visible=True).first.wait_for()
    page.wait_for_load_state("networkidle")  # the new UI draws again once it has all
    page.get_by_text(sign, exact=True).filter(visible=True).first.wait_for()
    return page


def no_harm(page: Page) -> None:
    """Nothing of a text from outside is more than text."""
    assert "attacked" not in page.title()
    assert not page.locator("main h1, h2, h3").filter(has_text="attacked").count()
    for attribute in ("src", "href"):
        links = page.locator(f"[{attribute}]").evaluate_all(
            f"all => all.map(one => one.getAttribute('{attribute}'))"
        )
        assert links
        assert not [link for link in links if "attacked" in link or "javascript" in link]


def words(page: Page) -> str:
    """The page's text, white space as single blanks."""
    return " ".join(page.locator("body").inner_text().split())


def cells(page: Page) -> list[list[str]]:
    """The cells of the page's table, row by row."""
    rows: list[list[str]] = page.locator("tr").evaluate_all(
        "all => all.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return rows


@pytest.mark.parametrize("ui", UIS)
def test_text_from_outside_is_shown_and_means_nothing(
    server: dict[str, str], chromium: Browser, ui: str
) -> None:
    """Every character is seen as it is, or as its escape; there is no element of its making."""
    body = {"key": "attacks", "type": "markdown", "data": paragraphs(ATTACKS)}
    body["description"] = body["data"]
    page = look(chromium, server, post(server, "artifacts/", body)["id"], ui, sign=ATTACKS[-1])
    no_harm(page)
    shown = [text.strip() for text in page.locator("code").all_inner_texts()]
    expected = [foreign_text(attack).strip() for attack in ATTACKS] * 2  # the description, too
    assert shown[: len(expected)] == expected


def colours(page: Page, picture: bytes) -> set[str]:
    """The colours in a PNG of which there is more than a trace, as `#rrggbb`."""
    found: list[str] = page.evaluate(
        """async (data) => {
            const image = new Image();
            image.src = `data:image/png;base64,${data}`;
            await image.decode();
            const canvas = new OffscreenCanvas(image.width, image.height);
            const context = canvas.getContext('2d');
            context.drawImage(image, 0, 0);
            const pixels = context.getImageData(0, 0, image.width, image.height).data;
            const counts = {};
            for (let at = 0; at < pixels.length; at += 4) {
                const hex = [0, 1, 2].map(c => pixels[at + c].toString(16).padStart(2, '0'));
                const colour = '#' + hex.join('');
                counts[colour] = (counts[colour] || 0) + 1;
            }
            return Object.keys(counts).filter(colour => counts[colour] > 100);
        }""",
        base64.b64encode(picture).decode(),
    )
    return set(found)


def with_attacks(halo: HaloStandIn, folder: Path, moment: datetime) -> None:
    """An event type of Halo, and the name of a file in the staging, that mean harm."""
    event = {"id": f"{7:032x}", "type": ATTACK, "name": "n", "created_at": moment.isoformat()}
    halo["beta"].add([event | {"critical": False}], created_at=moment)
    (folder / "staging" / "raw" / ATTACK.replace("/", "")).mkdir(parents=True)


def test_the_pages_of_a_sync_in_light_and_dark(
    tmp_path: Path,
    server: dict[str, str],
    halo: HaloStandIn,
    receiver: Receiver,
    chromium: Browser,
) -> None:
    """The table, the picture and the page of a run; a run with nothing new updates the first two.

    The gap is all of an account whose key is refused.
    """
    now = datetime.now(UTC)
    sensors = f"{receiver.url('tcp', name='sensor')} tcp://127.0.0.1:1?name=closed"
    halo_usm = command_for(tmp_path, halo, sensors, days=30)
    auth = tmp_path / "haloEvents.auth"
    good = auth.read_text()
    auth.write_text(f"{good}none|none|none\n")
    with_attacks(halo, tmp_path, now - timedelta(days=1))
    halo_usm.settings |= server
    halo_usm("sync", code=1)

    status = latest(server, "halo-usm-status")["id"]
    for ui in UIS:
        page = look(chromium, server, status, ui, sign="newest event")
        no_harm(page)
        columns, *rows = cells(page)
        alpha = next(row for row in rows if row[:2] == ["alpha", "closed"])
        counts = dict(zip(columns, alpha, strict=True))
        names = ["gaps", "staged", "delivered", "pending", "rejected"]
        assert [counts[name] for name in names] == ["0", "30", "0", "30", "0"]
        assert counts["covered until"][:10] == f"{now:%Y-%m-%d}"

    coverage = latest(server, "halo-usm-coverage")["id"]
    covered_and_gap = {"light": {"#0072b2", "#d55e00"}, "dark": {"#56b4e9", "#ff9b50"}}
    for ui in UIS:
        for scheme, expected in covered_and_gap.items():
            page = look(chromium, server, coverage, ui, sign="Gaps", scheme=scheme)
            page.get_by_alt_text("coverage of 4 accounts, 1 gap").wait_for()
            while not expected <= colours(page, page.screenshot()):
                page.wait_for_timeout(200)  # it is still being drawn
            assert re.search(r"none from \S+ \S+ to", words(page))

    page_of_run = latest(server, "halo-usm-sync")
    for ui in UIS:
        page = look(chromium, server, page_of_run["id"], ui, sign="What came")
        no_harm(page)
        text = words(page)
        assert "What came account new normalized rejected" in text
        assert f"sensor {EVENTS + 1} 0 0" in text
        assert "Slowest of 10 steps" in text
        assert "What failed, and what to do" in text
        assert "nothing listens there; check the port and the receiver" in text

    auth.write_text(good)
    halo_usm.settings["USM_SENSOR"] = receiver.url("tcp", name="sensor")
    keys = ("halo-usm-status", "halo-usm-coverage", "halo-usm-sync")
    (tmp_path / "staging" / "raw" / ATTACK.replace("/", "")).rmdir()
    before = [count(server, key) for key in keys]
    halo_usm("sync")
    assert [count(server, key) for key in keys] == before
    assert latest(server, "halo-usm-status")["id"] == status
    assert "closed" not in latest(server, "halo-usm-status")["data"]


def test_the_page_of_a_replay_says_how_to_go_on(
    tmp_path: Path, server: dict[str, str], halo: HaloStandIn, chromium: Browser
) -> None:
    """The counts, the command, and the values of the form; the command does what is left."""
    halo_usm = command_for(tmp_path, halo, "tcp://127.0.0.1:1?name=closed&batch=5", days=3)
    halo_usm("extract")
    halo_usm("transform")
    halo_usm.settings |= server
    since = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    halo_usm("replay", "--since", since, "--only", "all", code=1)
    artifact = latest(server, "halo-usm-replay")
    text = words(look(chromium, server, artifact["id"], "new", sign="By the command"))
    assert f"closed {EVENTS}" in text
    assert "only: all destination: closed" in text
    (command,) = re.findall(r"By the command (halo-usm replay .*?) or by a run", text)
    del halo_usm.settings["PREFECT_API_URL"]
    with Receiver("tcp") as receiver:
        halo_usm.settings["USM_SENSOR"] = receiver.url("tcp", name="closed")
        halo_usm(*command.split()[1:])
        assert receiver.messages("tcp")


FAULTS = """
import time
from flows import flow_report
from flows.sync import sync

flow_report._SECONDS = 1.0
for fault in (lambda **_: time.sleep(1000), lambda **_: 1 / 0):
    flow_report.get_client = fault
    print(sync(return_state=True).name)
"""


def test_a_report_that_is_lost_changes_nothing_of_the_outcome(
    tmp_path: Path, server: dict[str, str], halo: HaloStandIn, receiver: Receiver
) -> None:
    """With a server that does not answer, and with one that refuses: the log has one warning."""
    halo_usm = command_for(tmp_path, halo, receiver.url("tcp", name="sensor"), days=3)
    halo_usm.settings |= server
    result = replace(halo_usm, program=("-c", FAULTS))()
    assert result.stdout == "Completed\n" * 2
    assert len(receiver.messages("tcp")) == EVENTS
    lost = re.findall("artifacts and events of this run are not complete: (.*)", result.stderr)
    assert lost == ["not done within 1 seconds", "division by zero"]
