import dramatiq


@dramatiq.actor(queue_name="heavy")
def advance_heavy(run_id: int) -> None:
    """Work that loads models: at most one per worker thread, each in a child process of its own."""
    from runs.worker import advance

    advance(run_id)


@dramatiq.actor(queue_name="light")
def advance_light(run_id: int) -> None:
    """Imports, exports, fits: no models."""
    from runs.worker import advance

    advance(run_id)


ACTORS = {"heavy": advance_heavy, "light": advance_light}
