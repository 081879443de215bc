"""A thread in every worker process that brings back what was lost: lapsed runs, unsent messages, lost messages."""

import logging
import threading
from datetime import timedelta

from django.db import Error, connection, transaction
from django.db.models import Q
from django.utils import timezone
from dramatiq import Broker, Middleware, Worker

from runs.actions import deliver, send, worker_lost
from runs.clock import Clock
from runs.models import Outbox, Run, settle_parent

log = logging.getLogger("runs.keeper")
INTERVAL_S = 3.0
UNSENT_AFTER = timedelta(seconds=3)
# A queued run that nobody has claimed for so long: its message may have been lost by the broker. A second one is harmless.
SEND_AGAIN_AFTER = timedelta(minutes=10)


def keep() -> None:
    now = timezone.now()
    for run_id, fence in Run.objects.lapsed().values_list("pk", "fence")[:100]:
        worker_lost(run_id, fence, "its worker was not heard of any more")
    for outbox_id in Outbox.objects.filter(created_at__lt=now - UNSENT_AFTER).values_list("pk", flat=True)[:500]:
        deliver(outbox_id)
    lost = Run.objects.filter(state=Run.State.QUEUED, sent_at__lt=now - SEND_AGAIN_AFTER, outbox=None)
    lost = lost.exclude(parent__state=Run.State.PAUSED)
    for run in lost.order_by("pk")[:50]:
        with transaction.atomic():
            if Run.objects.filter(pk=run.pk, state=Run.State.QUEUED, sent_at=run.sent_at).update(sent_at=now):
                send(run)
    waiting = Run.objects.filter(state__in=[Run.State.WAITING, Run.State.PAUSED]).filter(
        ~Q(parts__state__in=Run.UNFINISHED)
    )
    for run_id in waiting.values_list("pk", flat=True).distinct()[:100]:
        settle_parent(run_id)


class Keeper(Middleware):
    def __init__(self) -> None:
        self.over = threading.Event()

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        threading.Thread(target=self._loop, daemon=True, name="keeper").start()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self.over.set()

    def _loop(self) -> None:
        clock = Clock()
        while not self.over.wait(INTERVAL_S):
            try:
                keep()
                clock.tick()
            except Error:
                log.warning("the database is away; trying again", exc_info=True)
                connection.close()
            except Exception:  # noqa: BLE001 - this thread must outlive any surprise
                log.exception("keeper failed; trying again")
            finally:
                connection.close()
