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
    context,
    desk,
    eventually,
    fill,
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
    const counting = opening.result.transaction("outbox").objectStore("outbox").count();
    counting.onsuccess = () => resolve(counting.result);
  };
})"""


def test_fifty_labels_while_the_machine_is_offline_again_and_again(desk, project, context):  # noqa: F811
    fill(project, 60)
    page, keys, done = desk(), itertools.cycle("12345"), 0
    while done < 50:
        done += label(page, keys, min(6, 50 - done))
        context.set_offline(True)
        done += label(page, keys, min(4, 50 - done))
        if 20 <= done < 30:
            eventually(page, lambda: page.evaluate(KEPT) + standing() == done)  # noqa: B023
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
