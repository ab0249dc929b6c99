"""The live page in a browser: a round from start to end, a node that is killed, names that are markup, many homes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, browser, chromium
from unit.chain.synthetic import AT_ONCE, NEVER, played, star
from unit.live.sealed import add, declare, deliver

from gridpact.chain.encoding import decode_trades, encode_tariff, encode_trades
from gridpact.chain.feed import ChainBlock, ChainEvent
from gridpact.chain.networks import Network
from gridpact.cli import main
from gridpact.live.following import LivePage, on_network
from gridpact.live.ground import Ground
from gridpact.live.household import HouseholdFolder, settings_in
from gridpact.live.reader import Link, ReaderState
from gridpact.live.server import Hub, Server
from gridpact.live.store import Store
from measure.invented import Street

chromium()  # or all is skipped

EVIL = '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">'


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture(autouse=True)
def quiet(window: Browser) -> Iterator[None]:
    """No test may leave a complaint on the console, or ask for anything elsewhere."""
    window.complaints.clear()
    window.requests.clear()
    window.size(1280, 900)
    yield
    window.leave()
    assert not window.complaints
    assert all(url.startswith(("http://127.0.0.1:", "about:")) for url in window.requests), window.requests


def test_round_isWatchedFromStartToEnd(window: Browser, anvil: Network, tmp_path: Path) -> None:
    play = played(anvil, star(3), steps=6, eps=AT_ONCE)
    page = LivePage(tmp_path / "history.db", {"network": EVIL, "eth_price_eur": 3000.0})
    page.hub.know(Ground({1: EVIL, 2: "Zoë", 3: "&amp;"}))
    with page.server, page.following(play.record, on_network(play.record, anvil), every=0.1):
        window.open(page.server.url)
        window.wait("document.querySelector('#headline').textContent === 'No round yet'")
        number = play.manager.open_round(20260701)
        window.wait("document.querySelector('#headline').textContent === 'Who takes part on July 1, 2026?'")
        for node in play.tree:
            play.declare(number, node)
        window.wait("document.querySelector('#headline').textContent === '3 homes are agreeing on July 1, 2026'")
        play.iterate(number, 1)
        window.wait("document.querySelector('#tiles dd').firstChild.textContent === '2'")
        play.iterate(number, 2)
        window.wait("document.querySelector('#headline').textContent === '3 homes have agreed on July 1, 2026'")
        window.wait("document.querySelector('#agreement canvas')")
        assert "€" in window.text("#tiles")
        # Names are text.
        assert window.text("#network") == EVIL
        assert EVIL in window.text("#homes")
        assert "&amp;" in window.text("#homes")
        assert window.tell("window.hacked === undefined")
        assert window.tell("document.querySelectorAll('main img, script:not([src])').length") == 0
        window.leave()
    play.close()


def test_killedHome_isSeen(window: Browser, anvil: Network, tmp_path: Path) -> None:
    """From the moment at which all others have submitted: the time that the page itself notes."""
    play = played(anvil, star(4), steps=6, eps=NEVER)
    page = LivePage(tmp_path / "history.db", {"network": "", "eth_price_eur": 0.0})
    with page.server, page.following(play.record, on_network(play.record, anvil), every=0.1):
        number = play.open()
        for iteration in (1, 2, 3):
            play.iterate(number, iteration)
        window.open(page.server.url)
        window.wait("document.querySelector('#tiles dd')?.firstChild.textContent === '4'")
        for node in (1, 2, 4):
            play.submit(number, 4, node)
        began = time.monotonic()
        window.wait("document.querySelector('#alert').textContent.startsWith('Waiting for Home 3 for')")
        took = time.monotonic() - began
        window.wait("document.querySelector('#homes .lateState b').textContent === 'Home 3'")
        assert window.tell("document.querySelectorAll('#homes .lateState').length") == 1
        print(f"a killed home was seen after {took:.1f} s")
        window.leave()
    play.close()


def test_takenBack_isTold(window: Browser, anvil: Network, tmp_path: Path) -> None:
    from chains import rpc

    play = played(anvil, star(3), steps=6, eps=NEVER)
    page = LivePage(tmp_path / "history.db", {"network": "", "eth_price_eur": 0.0})
    with page.server, page.following(play.record, on_network(play.record, anvil), every=0.1):
        number = play.open()
        snapshot = rpc(anvil.connect(), "evm_snapshot")
        play.iterate(number, 1)
        window.open(page.server.url)
        window.wait("document.querySelector('#tiles dd')?.firstChild.textContent === '2'")
        rpc(anvil.connect(), "evm_revert", snapshot)
        window.wait("document.querySelector('#alert').textContent.includes('the chain took back')")
        window.wait("document.querySelector('#tiles dd').firstChild.textContent === '1'")
        window.leave()
    play.close()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """127 homes, two days of them, 10,000 events."""
    store = Store(tmp_path_factory.mktemp("street") / "history.db")
    invented = Street(store, 127)
    invented.day(35)
    invented.day(40, missing=7, ends=False)
    assert store.count() >= 10_000
    yield store
    store.close()


@pytest.fixture(scope="module")
def street(kept: Store) -> Iterator[str]:
    """The address of their page."""
    hub = Hub(lambda: Store(kept.path), {"network": "a street", "eth_price_eur": 0.0})
    hub.standing = lambda: ReaderState(Link.UP)
    with Server(hub) as server:
        yield server.url


def test_manyHomes_areReadable(window: Browser, street: str) -> None:
    """All are there, none lies over another, the one that is missing stands first; on a desk and on a telephone."""
    for width in (1280, 390):
        window.size(width, 844)
        window.open(street)
        window.wait("document.querySelectorAll('#feeder g.home').length === 128")
        window.wait("document.querySelector('#homes li b')?.textContent === 'Home 7'")
        assert window.tell("document.documentElement.scrollWidth") <= width
        boxes = window.tell(
            "[...document.querySelectorAll('#feeder g.home')]"
            ".map((one) => one.querySelector('rect, path').getBoundingClientRect())"
            ".map((box) => [box.left, box.top, box.right, box.bottom])"
        )
        assert len(boxes) == 128
        assert min(right - left for left, _, right, _ in boxes) >= 12  # pixels
        overlaps = [
            (one, other)
            for k, one in enumerate(boxes)
            for other in boxes[:k]
            if one[0] < other[2] - 1 and other[0] < one[2] - 1 and one[1] < other[3] - 1 and other[1] < one[3] - 1
        ]
        assert not overlaps


def test_history_isGoneBackTo_byKeyboard(window: Browser, street: str) -> None:
    window.open(street)
    window.wait("document.querySelector('#headline').textContent === '127 homes are agreeing on June 2, 2026'")
    window.tell("document.querySelector('#history li:last-child button').focus()")
    window.press("Enter")
    window.wait("document.querySelector('#headline').textContent === '127 homes have agreed on June 1, 2026'")
    window.wait("document.querySelectorAll('#feeder .arc').length > 100")
    window.tell("document.querySelector('#feeder g.home[data-node=\"3\"]').focus()")
    window.press("ArrowRight")
    window.press("Enter")
    window.wait("document.querySelector('#feeder .detail h3')?.textContent === 'Home 4'")
    assert window.tell("document.activeElement.dataset.node") == "4"


def cells(window: Browser, selector: str) -> list[str]:
    """Of the rows of a table."""
    found: list[str] = window.tell(
        f"[...document.querySelectorAll('{selector} th, {selector} td')].map((one) => one.textContent.trim())"
    )
    return found


def test_sums_areThoseOfTheEvents(window: Browser, street: str, kept: Store) -> None:
    """What is traded and paid, beside sums over the stored events."""
    trades = [
        (event.arguments["payment"], decode_trades(bytes.fromhex(event.arguments["trades"])))
        for event in kept.events(1, "TradeRecorded")
    ]
    kwh = sum(abs(trade.energy_wh) for _, pair in trades for trade in pair) / 1000
    value = sum(abs(trade.energy_wh) * trade.price_micro for _, pair in trades for trade in pair) / 1e9
    supplier = sum(event.arguments["payment"] for event in kept.events(1, "Delivered")) / 1e6
    window.open(f"{street}#")
    window.wait("document.querySelectorAll('#history button').length === 2")
    window.tell("document.querySelector('#history li:last-child button').click()")
    window.wait("document.querySelector('#money tfoot')")
    together = f"{supplier:+,.2f}"
    assert cells(window, "#money tfoot")[:6] == [
        *("together", f"{kwh:,.1f}", f"{kwh:,.1f}", "0.00", together),
        together,
    ]
    assert f"{kwh:,.1f} kWh" in window.text("#tiles")
    assert f"{value / kwh:.3f}" in window.text("#tiles")
    assert len(cells(window, "#money tbody tr:first-child")) == 8


def test_household_seesItsBill(window: Browser, tmp_path: Path) -> None:
    """Three steps that are worked out by hand, at an address that nobody guesses."""
    store = Store(path := tmp_path / "history.db")
    setting = {"steps": 3, "step_seconds": 3600, "power_resolution_milliwatt": 500, "voltage_resolution": 10}
    limits = dict.fromkeys(("eps_primal_grid", "eps_dual_grid", "eps_primal_trade", "eps_dual_trade"), 1)
    store.tell(
        {
            "theta": {"n": 3, "rho": 1, "phi": 1, **limits, "mu": 9},
            "setting": {**setting, "phase_seconds": 300, "max_misses": 2},
            "currency": {"symbol": "tEUR", "decimals": 6},
        }
    )
    tariff = encode_tariff([200_000, 400_000, 400_000], [100_000] * 3)
    trades = encode_trades([(1, 2000, 250_000), (2, -1000, 300_000)])  # home 1 sells 2 kWh, then buys 1 kWh
    told: tuple[tuple[str, dict[str, object]], ...] = (
        ("TariffPublished", {"round": 1, "tariff": tariff}),
        ("RoundOpened", {"round": 1, "day": 20260701, "deadline": 1}),
        ("Declared", {"round": 1, "node": 1, "parent": 1, "depth": 0, "children": 0, "bids": 0, "book": b""}),
        ("Declared", {"round": 1, "node": 2, "parent": 2, "depth": 0, "children": 0, "bids": 0, "book": b""}),
        ("RoundStarted", {"round": 1, "nodes": 6, "lines": 0, "inner": 0}),
        ("RoundEnded", {"round": 1, "phase": 3, "iterations": 0}),
        ("TradeRecorded", {"round": 1, "lower": 1, "higher": 2, "payment": 200_000, "trades": trades}),
    )
    for number, (name, said) in enumerate(told, 1):
        store.add([], [ChainEvent(ChainBlock(number, f"0x{number}", number), 0, f"0x{number}", name, said)], {})
    store.close()
    folder = tmp_path / "home"
    (tmp_path / "password").write_text("of a test only")
    made = main(["household", "new", "--node", "1", "--out", str(folder), "--name", "plain", "--partners", "2",
                 "--password-file", str(tmp_path / "password")])  # fmt: skip
    assert made == 0
    toml = folder / "household.toml"
    toml.write_text(toml.read_text().replace('"plain"', f"'{EVIL}'"))
    rows = [
        {"injection_kw": -1.0, "charge_kw": 1.0, "discharge_kw": 0.0, "meter_wh": -1000},
        {"injection_kw": 3.0, "charge_kw": 0.0, "discharge_kw": 1.0, "meter_wh": 3000},
        {"injection_kw": -1.0, "charge_kw": 0.0, "discharge_kw": 0.0, "car_kw": 1.0, "meter_wh": -1000},
    ]
    (folder / "schedule").mkdir(exist_ok=True)
    (folder / "schedule" / "2026-07-01.json").write_text(json.dumps({"status": "agreed", "round": 1, "steps": rows}))
    hub = Hub(lambda: Store(path), {"network": "", "eth_price_eur": 0.0})
    hub.household = HouseholdFolder(settings_in(folder), "0xA")
    with Server(hub, prefix="/secret") as server:
        window.open(server.url)
        window.wait("document.querySelectorAll('#household .plan tbody tr').length === 3")
        bill = window.text("#household .bill").split("\n")
        # 2 kWh at 0.25 sold, 1 at 0.30 bought; 1 drawn at 0.20, 1 fed in at 0.10, nothing left of the last step.
        expected = {
            "From neighbours": "+0.20 tEUR",
            "From the supplier, by plan": "-0.10 tEUR",
            "Together": "+0.10 tEUR",
            "The same without trades": "-0.30 tEUR",  # -0.20 + 0.30 - 0.40
            "Gained by trading": "+0.40 tEUR",
        }
        shown = [line for line in bill if line]
        assert {name: shown[shown.index(name) + 1] for name in expected} == expected
        reasons = window.tell("[...document.querySelectorAll('#household .why')].map((one) => one.textContent)")
        assert reasons[0] == "The battery fills for when energy costs 0.40."
        assert reasons[1].startswith("Sells 2.00 kWh to Home 2 at 0.25; the supplier pays 0.10. The battery gives")
        assert reasons[2] == "Buys 1.00 kWh from Home 2 at 0.30; the supplier asks 0.40. The car charges."
        assert EVIL in window.text("#household h2")
        assert window.tell("window.hacked === undefined")
        window.leave()


def test_sealedRound_showsWhatWasRead_andSaysWhatIsSealed(window: Browser, tmp_path: Path) -> None:
    """Powers by home at one step, worked out by hand; no voltages, and no word of a plan."""
    store = Store(path := tmp_path / "history.db")
    limits = dict.fromkeys(("eps_primal_grid", "eps_dual_grid", "eps_primal_trade", "eps_dual_trade"), 1)
    setting = {"steps": 4, "step_seconds": 3600, "power_resolution_milliwatt": 500, "voltage_resolution": 10}
    store.tell(
        {
            "theta": {"n": 6, "rho": 1, "phi": 1, **limits, "mu": 9},
            "setting": {**setting, "phase_seconds": 300, "max_misses": 2},
            "currency": {"symbol": "tEUR", "decimals": 6},
        }
    )
    add(store, 1, [("RoundOpened", {"day": 20260701, "deadline": 1})])
    declare(store, 1)
    add(store, 1, [("RoundEnded", {"phase": 3, "iterations": 9})])
    hub = Hub(lambda: Store(path), {"network": "", "eth_price_eur": 0.0})
    with Server(hub) as server:
        window.open(server.url)
        window.wait("document.querySelector('#feeder .legend').textContent.startsWith('The round is sealed')")
        assert window.tell("document.querySelectorAll('.modes button').length") == 1
        deliver(store, 1, {1: [1000, 0, 0, 0], 2: [-3000, 0, 0, 0], 3: [500, 0, 0, 0], 5: [0, 0, 0, -2000]})
        hub.changed()
        window.wait("document.querySelector('.modes [data-mode=power]')")
        window.tell("document.querySelector('.modes [data-mode=power]').click()")
        assert window.tell("document.querySelector('.modes [data-mode=voltage]') === null")
        said = window.tell(
            "Object.fromEntries([...document.querySelectorAll('#feeder g.home')]"
            ".map((one) => [one.dataset.node, one.querySelector('.figure')?.textContent]))"
        )
        assert [said[node] for node in ("1", "2", "3", "5")] == ["+1.0", "-3.0", "+0.5", "-2.0"]
        legend = window.text("#feeder .legend")
        assert "as the meters read them" in legend
        assert "voltages are not public" in legend
        assert "2.5 kW" in legend  # through the line from 2 to 1, in the first hour
        assert cells(window, "#day details tbody tr:first-child") == ["00:00", "–", "-1.50"]  # no plan beside it
        window.leave()
    store.close()


def test_language_isChosen(window: Browser, street: str) -> None:
    window.open(street)
    window.wait("document.querySelector('#headline').textContent.startsWith('127 homes')")
    for code, begin in (("de", "127 Haushalte einigen"), ("nl", "127 huishoudens worden"), ("en", "127 homes")):
        window.tell(
            "(() => { const s = document.querySelector('#language');"
            f" s.value = '{code}'; s.dispatchEvent(new Event('change')); }})()"
        )
        window.wait(f"document.querySelector('#headline').textContent.startsWith('{begin}')")
        assert window.tell("document.documentElement.lang") == code


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_standsOutFromItsGround(window: Browser, street: str, theme: str) -> None:
    """WCAG 2: contrast of at least 4.5 for text, 3 for what is large or drawn, in both themes."""
    window.open(street)
    window.wait("document.querySelector('#headline').textContent.startsWith('127')")
    window.tell(f"document.documentElement.dataset.theme = '{theme}'")
    names = ("page", "card", "ink", "soft", "give", "take", "ok", "bad", "accent", "c1", "c3")
    colours = {
        name: window.tell(f"getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim()")
        for name in names
    }
    for name in ("ink", "soft", "bad", "accent"):
        assert min(contrast(colours[name], colours["page"]), contrast(colours[name], colours["card"])) >= 4.5, name
    for name in ("give", "take", "ok", "c1", "c3"):
        assert contrast(colours[name], colours["card"]) >= 3, name


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
