"""The broker between web and workers: PostgreSQL itself, or what BROKER_URL names (RabbitMQ, Redis).

A message only says "advance run 42"; the run's row holds the truth. So all three brokers serve the same actors, and
a message lost, doubled or late does no harm.
"""

from urllib.parse import urlsplit

from dramatiq import Broker
from dramatiq.middleware import AgeLimit, Callbacks, CurrentMessage, Pipelines, Retries, ShutdownNotifications

from config.env import BadSetting

# A killed worker's message is back within ttl + maintenance: under 15 s.
HEARTBEAT_INTERVAL_S, HEARTBEAT_TTL_S, MAINTENANCE_S = 2.0, 8.0, 3.0


def middleware() -> list:
    """No TimeLimit: runs may take days, and stop by their row's flag. No message retries: the run's row decides."""
    from dramatiq_postgres.django.middleware import DbConnectionsMiddleware

    return [
        AgeLimit(), ShutdownNotifications(), Callbacks(), Pipelines(), Retries(max_retries=3, min_backoff=1000),
        CurrentMessage(), DbConnectionsMiddleware(),
    ]  # fmt: skip


def make_broker(broker_url: str, database: dict) -> Broker:
    scheme = urlsplit(broker_url).scheme
    if not broker_url:
        from dramatiq_postgres import PostgresBroker

        keys = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
        return PostgresBroker(
            url={libpq: str(database[key]) for key, libpq in keys.items() if database.get(key)},
            results=False,
            heartbeat_interval=HEARTBEAT_INTERVAL_S,
            heartbeat_ttl=HEARTBEAT_TTL_S,
            maintenance_interval=MAINTENANCE_S,
            middleware=middleware(),
        )
    if scheme in {"amqp", "amqps"}:
        from dramatiq.brokers.rabbitmq import RabbitmqBroker

        return RabbitmqBroker(url=broker_url, confirm_delivery=True, middleware=middleware())
    if scheme in {"redis", "rediss"}:
        from dramatiq.brokers.redis import RedisBroker

        # With the defaults a killed worker's message may not come back for minutes: maintenance runs by chance.
        return RedisBroker(
            url=broker_url, heartbeat_timeout=10_000, maintenance_chance=1_000_000, middleware=middleware()
        )
    raise BadSetting(f"BROKER_URL starts with {scheme!r}: use amqp://, redis://, or leave it empty for PostgreSQL")
