"""Two real browsers chatting: one loses its network and comes back, one reloads. Screenshots are kept as artefacts."""

from __future__ import annotations

import pathlib
import re
import shutil
from collections.abc import Callable, Iterator

import pytest
from backends import backend_missing
from frame_client import Frame, FrameClient, new_id
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from throng_process import ThrongProcess

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(180)]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"]
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        backend_missing("chromium", "apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


class Person:
    """A browser context of its own, at the page, and what its console said."""

    def __init__(self, browser: Browser, address: str, *, viewport: dict[str, int], locale: str) -> None:
        self.context = browser.new_context(viewport=viewport, locale=locale)  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._console)
        self.page.goto(address)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and "ERR_INTERNET_DISCONNECTED" not in message.text:
            self.errors.append(message.text)

    def log_in(self, name: str) -> None:
        self.page.get_by_test_id("login-name").fill(name)
        self.page.get_by_test_id("login-submit").click()
        expect(self.page.get_by_test_id("group-list")).to_be_visible()

    def open(self, group: str) -> None:
        self.page.get_by_test_id(f"group-item-{group}").click()
        expect(self.page.get_by_test_id("composer-input")).to_be_visible()

    def say(self, text: str) -> None:
        self.page.get_by_test_id("composer-input").fill(text)
        self.page.get_by_test_id("composer-send").click()

    def message(self, text: str) -> object:
        return self.page.get_by_test_id("message").filter(has_text=text)

    def sees(self, text: str) -> None:
        expect(self.page.get_by_test_id("message").filter(has_text=text)).to_have_count(1, timeout=15_000)

    def seqs(self) -> list[int]:
        rows = self.page.get_by_test_id("message").all()
        return [int(row.get_attribute("data-seq") or 0) for row in rows]

    def shoot(self, folder: pathlib.Path, name: str) -> None:
        self.page.screenshot(path=str(folder / f"{name}.png"))


@pytest.fixture
def people(browser: Browser, throng: ThrongProcess) -> Iterator[tuple[Person, Person]]:
    alice = Person(browser, throng.address, viewport=DESKTOP, locale="en-GB")
    wei = Person(browser, throng.address, viewport=PHONE, locale="zh-CN")
    yield alice, wei
    for person in (alice, wei):
        person.context.close()
        assert person.errors == []


def test_two_people_chat_one_loses_the_network_one_reloads(
    people: tuple[Person, Person], throng: ThrongProcess, artifacts: pathlib.Path
) -> None:
    """I5, I6."""
    alice, wei = people
    alice.shoot(artifacts, "login-desktop")
    wei.shoot(artifacts, "login-phone")
    alice.log_in("Alice")
    wei.log_in("张伟")
    alice.open("lobby")
    wei.open("lobby")
    alice.say("Hello, is anybody here?")
    wei.sees("Hello, is anybody here?")
    wei.say("你好 Alice，我在。")
    alice.sees("你好 Alice，我在。")
    expect(alice.page.get_by_test_id("message").filter(has_text="Hello, is anybody")).to_have_attribute("data-state", "sent")
    alice.shoot(artifacts, "chat-desktop")
    wei.shoot(artifacts, "chat-phone")

    wei.context.set_offline(True)
    expect(wei.page.get_by_test_id("connection-state")).not_to_have_text("", timeout=60_000)
    alice.page.wait_for_timeout(1_100)  # the lobby's interval between two messages of one user
    alice.say("Are you still there?")
    alice.sees("Are you still there?")
    wei.say("我断网了，但这条会补发。")
    expect(wei.page.get_by_test_id("message").filter(has_text="补发")).to_have_attribute("data-state", re.compile("sending|failed"))
    wei.shoot(artifacts, "offline-phone")
    wei.context.set_offline(False)
    wei.sees("Are you still there?")
    alice.sees("我断网了，但这条会补发。")
    assert wei.page.get_by_test_id("message").filter(has_text="补发").count() == 1

    alice.page.reload()
    alice.open("lobby")
    for text in ("Hello, is anybody here?", "你好 Alice，我在。", "Are you still there?", "我断网了，但这条会补发。"):
        alice.sees(text)
    for person in (alice, wei):
        held = [seq for seq in person.seqs() if seq]
        assert held == sorted(set(held))


def test_badges_count_what_is_not_read(people: tuple[Person, Person], artifacts: pathlib.Path) -> None:
    """I7, seen in the page."""
    alice, wei = people
    for person, name in ((alice, "Alice2"), (wei, "王芳")):
        person.log_in(name)
        person.open("lobby")
    alice.page.reload()
    expect(alice.page.get_by_test_id("group-list")).to_be_visible()
    wei.say("第一条")
    badge = alice.page.get_by_test_id("group-item-lobby").get_by_test_id("unread-badge")
    expect(badge).to_have_text("1", timeout=15_000)
    alice.shoot(artifacts, "badge-desktop")
    alice.open("lobby")
    alice.sees("第一条")
    expect(badge).to_be_hidden()


_SET_VISIBILITY = """hidden => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_hidden_page_counts_and_catches_up_in_order_when_it_is_shown(
    people: tuple[Person, Person], throng: ThrongProcess
) -> None:
    """I5, I6, I7; both see how many are online."""
    alice, wei = people
    throng.make_group("tea", "Tea room", send_interval_ms=0)
    for person, name in ((alice, "Alice5"), (wei, "李娜")):
        person.log_in(name)
        person.page.get_by_test_id("join-group").click()
        person.page.get_by_test_id("join-group-id").fill("tea")
        person.page.get_by_test_id("join-group-id").press("Enter")
        expect(person.page.get_by_test_id("composer-input")).to_be_visible()
    expect(alice.page.get_by_text(re.compile(r"2 online"))).to_be_visible(timeout=15_000)
    expect(wei.page.get_by_text(re.compile(r"2 在线"))).to_be_visible(timeout=15_000)
    wei.page.evaluate(_SET_VISIBILITY, True)
    for number in range(5):
        alice.say(f"while hidden {number}")
    alice.sees("while hidden 4")
    expect(wei.page).to_have_title(re.compile("5"), timeout=15_000)
    assert wei.page.get_by_test_id("message").filter(has_text="while hidden").count() == 0, "nothing was sent to it"
    wei.page.evaluate(_SET_VISIBILITY, False)
    for number in range(5):
        wei.sees(f"while hidden {number}")
    alice.say("and again live")
    wei.sees("and again live")
    held = [seq for seq in wei.seqs() if seq]
    assert held == sorted(set(held))


def test_rejects_are_told_in_the_users_language(people: tuple[Person, Person], artifacts: pathlib.Path) -> None:
    _, wei = people
    wei.log_in("快手")
    wei.open("lobby")
    wei.say("一")
    wei.say("二，太快了")
    expect(wei.page.get_by_test_id("message").filter(has_text="太快了")).to_have_attribute("data-state", "failed", timeout=15_000)
    expect(wei.page.get_by_role("alert").filter(has_text=re.compile("太快"))).to_be_visible()
    wei.shoot(artifacts, "reject-phone")
    wei.page.wait_for_timeout(1_100)  # the lobby's interval between two messages of one user
    wei.page.get_by_test_id("retry").first.click()
    expect(wei.page.get_by_test_id("message").filter(has_text="太快了")).to_have_attribute("data-state", "sent", timeout=15_000)


def test_recalling_blanks_the_message_for_the_other(people: tuple[Person, Person]) -> None:
    alice, wei = people
    for person, name in ((alice, "Ann"), (wei, "Bo")):
        person.log_in(name)
        person.open("lobby")
    alice.say("a slip of the pen")
    wei.sees("a slip of the pen")
    row = alice.page.get_by_test_id("message").filter(has_text="a slip of the pen")
    expect(row).to_have_attribute("data-state", "sent")
    row.get_by_test_id("message-menu").click()
    alice.page.get_by_test_id("recall").click()
    expect(wei.page.get_by_text("a slip of the pen")).to_have_count(0, timeout=15_000)


def test_older_history_comes_on_scroll_and_a_pill_tells_of_new_messages(
    people: tuple[Person, Person], connect: Callable[..., FrameClient], throng: ThrongProcess, artifacts: pathlib.Path
) -> None:
    throng.make_group("long", send_interval_ms=0, budget_per_second=0)
    writer = connect("writer", path="/ws?groups=long")
    for number in range(1, 201):
        assert "ack" in _say(writer, f"message {number}")
    _, wei = people
    wei.log_in("Li")
    wei.page.get_by_test_id("join-group").click()
    wei.page.get_by_test_id("join-group-id").fill("long")
    wei.page.get_by_test_id("join-group-id").press("Enter")
    wei.sees("message 200")
    assert 1 not in wei.seqs()
    scroller = wei.page.get_by_test_id("message-scroller")
    first = wei.page.locator('[data-testid="message"][data-seq="1"]')
    for _ in range(40):
        if first.count():
            break
        scroller.evaluate("element => { element.scrollTop = 0; }")
        wei.page.wait_for_timeout(100)  # as long as a finger pauses
    expect(first).to_have_count(1)
    seqs = wei.seqs()
    assert seqs == sorted(set(seqs))
    assert "ack" in _say(writer, "something new")
    pill = wei.page.get_by_test_id("new-messages-pill")
    expect(pill).to_be_visible(timeout=15_000)
    wei.shoot(artifacts, "pill-phone")
    pill.click()
    wei.sees("something new")
    expect(pill).to_be_hidden()


def _say(client: FrameClient, text: str) -> Frame:
    return client.ask(send={"groupId": "long", "clientMsgId": new_id(), "text": {"text": text}})


def test_a_storm_and_slow_mode_are_told_in_friendly_words_and_change_while_the_page_is_open(
    people: tuple[Person, Person], throng: ThrongProcess, artifacts: pathlib.Path
) -> None:
    alice, wei = people
    limits = ("--send-interval-ms", "0", "--budget-per-second", "1", "--over-budget", "sample")
    throng.throng("group", "create", "square", "--name", "Square 广场", "--open", *limits)
    for person, name in ((alice, "Ada"), (wei, "小雨")):
        person.log_in(name)
        person.page.get_by_test_id("join-group").click()
        person.page.get_by_test_id("join-group-id").fill("square")
        person.page.get_by_test_id("join-group-id").press("Enter")
        expect(person.page.get_by_test_id("composer-input")).to_be_visible()
    for number in range(8):
        alice.say(f"everybody talks at once {number}")
    retry = alice.page.get_by_test_id("retry")
    expect(retry.first).to_be_disabled()
    expect(retry.first).to_have_text(re.compile(r"^Try again in \d+ s\.$"))
    expect(alice.page.locator(".failure").first).to_contain_text("drawn by lot")
    alice.shoot(artifacts, "storm-desktop")

    throng.throng("group", "set", "square", "--send-interval-ms", "20000", "--budget-per-second", "0")
    field, wait = wei.page.get_by_test_id("composer-input"), wei.page.get_by_test_id("composer-wait")
    expect(field).to_have_attribute("placeholder", "慢速模式：每 20 秒一条")
    wei.say("慢慢说。")
    wei.sees("慢慢说。")
    expect(wait).to_have_text(re.compile(r"^\d+$"))
    field.fill("这句要等一等。")
    expect(wei.page.get_by_test_id("composer-send")).to_be_disabled()
    wei.shoot(artifacts, "slow-mode-phone")
    throng.throng("group", "set", "square", "--send-interval-ms", "0")
    expect(wait).to_have_count(0)
    wei.page.get_by_test_id("composer-send").click()
    alice.sees("这句要等一等。")
