"""The same actors do the same work whichever broker carries their messages: PostgreSQL, RabbitMQ or Redis."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from runs.models import Outbox, Run
from tests.ports import free_ports
from tests.trial_kinds import let_go
from tests.workers import kill, start_worker, wait_until, workers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.broker]


def need(*programs: str) -> str:
    for program in programs:
        found = shutil.which(program) or (program if Path(program).exists() else None)
        if found:
            return found
    message = f"{programs[0]} is not installed (Debian has it; .ci/run installs it)"
    if os.environ.get("ADPROOF_CI"):
        pytest.fail(message)
    pytest.skip(message)


def wait_for_port(port: int, process: subprocess.Popen, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, "the broker ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"the broker did not listen within {seconds} s")


@pytest.fixture(scope="module")
def redis_url():
    program, (port,) = need("redis-server"), free_ports()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder], stdout=subprocess.DEVNULL
        )
        wait_for_port(port, process)
        yield f"redis://127.0.0.1:{port}/0"
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def rabbitmq_url():
    # Debian's wrapper insists on its own user and folders; the script behind it takes ours.
    program = need("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
    port, dist, epmd = free_ports(3)
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ, "HOME": folder, "RABBITMQ_NODENAME": f"adproof{port}@localhost", "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_DIST_PORT": str(dist), "ERL_EPMD_PORT": str(epmd),
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia", "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins", "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq",
            "RABBITMQ_PID_FILE": f"{folder}/pid", "ERL_EPMD_ADDRESS": "127.0.0.1",
        }  # fmt: skip
        process = subprocess.Popen([program], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        wait_for_port(port, process, 90)
        time.sleep(1)
        yield f"amqp://guest:guest@127.0.0.1:{port}"
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        subprocess.run(["epmd", "-kill"], env=environment, capture_output=True, check=False)


@pytest.fixture(params=["postgres", "rabbitmq", "redis"])
def broker_url(request):
    if request.param == "postgres":
        return ""
    return request.getfixturevalue(f"{request.param}_url")


def queued(runs: int, **params) -> list[Run]:
    """Runs whose messages wait in the outbox: the workers' keeper sends them to the broker under test."""
    made = [Run.objects.create(kind="trial_count", title=f"count {i}", params={"n": 3, **params}) for i in range(runs)]
    Outbox.objects.bulk_create([Outbox(run=run) for run in made])
    return made


def all_done(runs: list[Run]) -> bool:
    return not Run.objects.filter(pk__in=[run.pk for run in runs]).exclude(state="succeeded").exists()


def test_every_run_is_done_once(broker_url):
    runs = queued(20)
    with workers(2, "light", BROKER_URL=broker_url):
        wait_until(lambda: all_done(runs))
    assert not Outbox.objects.exists()
    assert set(Run.objects.values_list("attempt", flat=True)) == {1}


def test_a_killed_workers_run_goes_on_with_another(broker_url):
    (run,) = queued(1, n=60, hold=3)
    first = start_worker("light", BROKER_URL=broker_url)
    try:
        wait_until(lambda: run.refresh_from_db() or run.done == 3)
        with workers(1, "light", BROKER_URL=broker_url):
            more = [other.pk for other in queued(6)]  # some of them are fetched by the first one, which is busy
            wait_until(lambda: Run.objects.filter(pk__in=more, state="succeeded").exists())  # the second one is up
            kill(first)
            let_go(run)
            began = time.monotonic()
            wait_until(lambda: run.refresh_from_db() or run.attempt == 2)
            back_after = time.monotonic() - began
            wait_until(lambda: all_done([run]))
    finally:
        kill(first)
    assert run.attempt == 2 and back_after < 30  # a lease, a keeper's turn and a slow machine
