from importlib import import_module

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class RunsConfig(AppConfig):
    name = "runs"

    def ready(self) -> None:
        """Set the broker, then let every app declare its actors and kinds of run (its tasks.py)."""
        import dramatiq
        from django.conf import settings

        from config.broker import make_broker
        from runs.keeper import Keeper

        broker = make_broker(settings.BROKER_URL, settings.DATABASES["default"])
        broker.add_middleware(Keeper())
        dramatiq.set_broker(broker)
        autodiscover_modules("tasks")
        for module in settings.EXTRA_TASKS:
            import_module(module)
