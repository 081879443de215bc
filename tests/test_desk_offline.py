"""Answers that could not be sent: kept through lost connections, closed pages and other people's logins; counted once."""

import itertools

import pytest
from django.test import Client

from accounts.models import User
from annotation.models import Annotation, Slot
from tests.test_desk_browser import (  # noqa: F401 - fixtures
    ANSWERS,
    CHROMIUM,
    alice,
    browser,
    can_label,
    context,
    desk,
    eventually,
    fill,
    have_all,
    label,
    project,
    standing,
    wait_saved,
)  # fmt: skip

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.django_db(transaction=True),
]

KEPT = """() => new Promise((resolve) => {
  const opening = indexedDB.open("adproof-desk", 1);
  opening.onsuccess = () => {
    const reading = opening.result.transaction("outbox").objectStore("outbox").getAll();
    reading.onsuccess = () => resolve(reading.result.map(({ body }) => body.id));
  };
})"""


def kept_or_saved(page):
    """How many answers are in the browser or on the server. While the answer of the server is lost they are in both."""
    return len({*page.evaluate(KEPT), *map(str, Annotation.objects.standing().values_list("id", flat=True))})


def test_fifty_labels_while_the_machine_is_offline_again_and_again(desk, project, context):  # noqa: F811
    fill(project, 200)  # a closed page's leases, two minutes of work, stay held for five
    page, keys, done = desk(), itertools.cycle("12345"), 0
    while done < 50:
        done += label(page, keys, min(6, 50 - done), patience_s=5)
        context.set_offline(True)
        done += label(page, keys, min(4, 50 - done), patience_s=5)
        if 20 <= done < 30:
            eventually(page, lambda: kept_or_saved(page) == done)  # noqa: B023
            page.close()  # what is open goes down with the connection
            context.set_offline(False)
            page = desk()
        context.set_offline(False)
        page.wait_for_selector(".has-task", timeout=60_000)
    eventually(page, lambda: standing() == 50)
    wait_saved(page)
    assert Annotation.objects.count() == 50
    assert len(set(Annotation.objects.values_list("task", flat=True))) == 50


def test_answers_wait_for_their_own_person(desk, project, context, live_server):  # noqa: F811
    """Alice's tab stays open; Bob logs in beside it, and has the same tasks on his desk."""
    project.overlap = 2
    project.save()
    fill(project, 6)
    page = desk()
    page.route(ANSWERS, lambda route: route.abort())
    assert label(page, iter("123"), 3) == 3
    page.wait_for_selector("text=3 waiting")
    bob = Client()
    bob.force_login(User.objects.create_user("bob", password="a-long-password"))
    hers = next(cookie for cookie in context.cookies() if cookie["name"] == "sessionid")
    context.add_cookies([{"name": "sessionid", "value": bob.cookies["sessionid"].value, "url": live_server.url}])
    his = desk()
    assert Slot.objects.filter(annotator__username="bob").count() == 6
    page.unroute(ANSWERS)
    page.wait_for_selector('[data-part=saving][data-state="login"]', timeout=60_000)
    his.bring_to_front()
    assert label(his, iter("5"), 1) == 1
    his.wait_for_selector("text=1 saved")
    assert list(Annotation.objects.values_list("annotator__username", "label")) == [("bob", 4)]
    context.add_cookies([{"name": "sessionid", "value": hers["value"], "url": live_server.url}])
    page.bring_to_front()
    wait_saved(page)
    assert Annotation.objects.filter(annotator__username="alice").count() == 3
    assert Annotation.objects.count() == 4


def hold_many(page, keys, n):
    """Label quickly until the desk holds n tasks: it keeps what lasts for two minutes at one's pace, and on a machine that
    is slow beside other work that is fewer. Returns how many were labelled, and how many are held."""
    held, done = 0, 0
    while held < n and done < 40:
        done += label(page, keys, 1)
        page.wait_for_timeout(60)
        held = Slot.objects.filter(is_filled=False, annotator__username="alice").count()
    eventually(page, lambda: standing() == done)
    held = Slot.objects.filter(is_filled=False, annotator__username="alice").count()
    have_all(page)  # these at least
    return done, held


def test_fifty_labels_offline_and_the_tab_closed_at_once_after_the_last_key(desk, project, context):  # noqa: F811
    """What the last key wrote is kept, although nothing waits for it; and all of it arrives, once."""
    fill(project, 200)
    page, keys = desk(), itertools.cycle("12345")
    before, held = hold_many(page, keys, 52)
    context.set_offline(True)
    n = min(50, held - 2)
    assert n >= 8 and label(page, keys, n) == n
    page.close()  # not a moment later
    assert standing() == before
    context.set_offline(False)
    again = desk()
    eventually(again, lambda: standing() == before + n)
    wait_saved(again)
    assert Annotation.objects.count() == before + n
    assert len(set(Annotation.objects.values_list("task", flat=True))) == before + n
    assert again.evaluate(KEPT) == []


def test_a_tab_closed_in_the_moment_of_a_key_loses_none(desk, project, context):  # noqa: F811
    """Again and again, with the server out of reach: the write has begun and is committed before the key is up."""
    fill(project, 120)
    context.route(ANSWERS, lambda route: route.abort())
    check = context.new_page()
    for number in range(1, 11):
        page = desk()
        page.keyboard.press("3")
        page.close()
        if number == 1:
            check.goto(page.url.replace("/desk/", "/guidelines/"))
        eventually(check, lambda: len(check.evaluate(KEPT)) == number)  # noqa: B023
    context.unroute(ANSWERS)
    page = desk()
    eventually(page, lambda: standing() == 10)
    assert Annotation.objects.count() == 10


def test_the_last_tasks_come_back_although_no_tab_could_give_them_back(desk, project, context):  # noqa: F811
    """Closed without a connection, the tab keeps all that is left in its person's name: the next one gets it at once."""
    fill(project, 6)
    page = desk()
    eventually(page, lambda: Slot.objects.filter(annotator__username="alice").count() == 6)
    context.set_offline(True)
    assert label(page, iter("1"), 1) == 1
    page.close()
    context.set_offline(False)
    page = desk()
    eventually(page, lambda: page.inner_text("[data-part=left]").startswith("5"))
    # What is answered in one of two tabs that have the same leaves the other.
    other = desk()
    page.bring_to_front()
    assert label(page, itertools.cycle("12345"), 5) == 5
    eventually(other, lambda: not can_label(other))
    wait_saved(page)
    eventually(page, lambda: standing() == 6)


def test_two_tabs_of_one_person_offline_and_one_of_them_closed(desk, project, context):  # noqa: F811
    fill(project, 60)
    tabs, keys = [desk(), desk()], itertools.cycle("1234")
    shown = [tab.inner_text("[data-part=title]") for tab in tabs]
    assert shown[0] != shown[1]
    have_all(*tabs)
    context.set_offline(True)
    for _ in range(4):
        for tab in tabs:
            tab.bring_to_front()
            assert label(tab, keys, 1) == 1
    for tab in tabs:
        tab.wait_for_selector("text=8 waiting for the connection")  # each knows of the other's
    tabs[0].close()
    context.set_offline(False)
    eventually(tabs[1], lambda: standing() == 8)
    wait_saved(tabs[1])
    assert Annotation.objects.count() == len(set(Annotation.objects.values_list("task", flat=True))) == 8
    assert tabs[1].evaluate(KEPT) == []


def test_undo_of_an_answer_that_another_tab_is_to_send(desk, project, context):  # noqa: F811
    fill(project, 40)
    first, second = desk(), desk()
    have_all(first, second)
    context.set_offline(True)
    first.bring_to_front()
    label(first, iter("1"), 1)
    first.wait_for_selector("text=1 waiting")
    second.bring_to_front()
    label(second, iter("23"), 2)
    second.wait_for_selector("text=3 waiting")
    second.keyboard.press("u")
    # It is gone; or, if the first tab has tried to send it by now, the undo waits behind it.
    for tab in (second, first):
        tab.wait_for_selector("text=/[24] waiting/")
    context.set_offline(False)
    for tab in (second, first):
        wait_saved(tab)
    assert sorted(Annotation.objects.standing().values_list("label", flat=True)) == [0, 1]


def test_a_browser_that_keeps_nothing_still_labels_and_says_so(desk, project, context):  # noqa: F811
    fill(project, 5)
    context.add_init_script("IDBObjectStore.prototype.add = () => { throw new DOMException('full', 'QuotaExceededError'); }")
    page = desk()
    page.route(ANSWERS, lambda route: route.abort())
    assert label(page, iter("12"), 2) == 2
    page.wait_for_selector("text=Your browser keeps nothing over a reload")
    page.unroute(ANSWERS)
    eventually(page, lambda: standing() == 2)
