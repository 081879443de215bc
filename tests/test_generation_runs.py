"""Runs that draw: planned in ranges, paused, resumed, killed, kept to a budget; what can't be drawn is listed."""

import json
import os
import signal
import threading
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from rest_framework.authtoken.models import Token

from adproof.diffusion.config import GeneratorConfig, key_of_config
from generation import choosing, failures, planning, runtime, working
from generation import planned as planned_again
from generation.blobs import blobs
from generation.costs import cost_of, costs_of
from generation.models import (
    Candidate,
    CategoryDefaults,
    Failure,
    Generator,
    Plan,
    Product,
    Prompt,
    Share,
    VariableList,
)
from generation.planned import planned
from generation.planning import Budget, CannotStart, give_more, seed_of, start_generation
from generation.scenes import Words
from rfnet_service.models import Verdict
from runs.actions import add_parts, pause_run, resume_run
from runs.child import work_on
from runs.models import KeptFigure, Outbox, Run
from tests import build, data_rows
from tests.data_rows import do
from tests.locks import somebody_waits_for_us
from tests.workers import wait_until, workers

pytest.importorskip("torch")
from tests import tiny_generators  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_generators.save_mini(tmp_path_factory.mktemp("mini"))


@pytest.fixture
def tiny(weights):
    config = {"kind": "mini", "base": str(weights), "steps": 2, "size": 128, "batch": 4}
    key = key_of_config(GeneratorConfig.from_dict(config))
    return Generator.objects.create(name="tiny", kind="mini", key=key, config=config, is_in_use=True)


@pytest.fixture
def products():
    return [build.product(n) for n in range(4)]


def start(products, **values):
    return start_generation(**{"products": products, "prompts": [build.prompt()], "part_size": 4, **values})


def expected_items(products, prompts, per_pair):
    """What a plan must hold, pair by pair: the first pictures show every product, the prompts in turn."""
    drawn, offered = [product for product in products if product.is_drawable], [prompt for prompt in prompts if prompt.is_active]
    pairs = [
        (product, prompt)
        for shift in range(len(offered))
        for place, product in enumerate(drawn)
        if not (prompt := offered[(place + shift) % len(offered)]).categories or product.category in prompt.categories
    ]
    return [
        {"product": product.pk, "prompt": prompt.pk, "number": number, "seed": seed_of(0, product, prompt, number)}
        for number in range(per_pair)
        for product, prompt in pairs
    ]


def part(run, place=0):
    return run.parts.order_by("pk")[place]


def state(run):
    run.refresh_from_db()
    return run.state


def work_off(run):
    """What one worker does with the parts, here and now."""
    while (waiting := run.parts.filter(state="queued").order_by("pk").first()) is not None:
        do(waiting)
    run.refresh_from_db()
    return run


class TestPlans:
    def test_a_form_counts_without_putting_in_order_what_a_run_puts_in_order(self, tiny, products):
        lamps, anything = build.prompt("lamps only", categories=["lamps", "vases"]), build.prompt("anything")
        every = [*products, chair := build.product(9, category="chairs")]
        counted = choosing.count(Product.objects.all(), [lamps, anything])
        assert counted.pairs == len(expected_items(every, [lamps, anything], 1)) == 4 + 5 and choosing.count([], [lamps]).pairs == 0
        said = build.prompt("said", text="{product} on a table")
        plan = start([chair, products[2], products[0]], prompts=[lamps, said]).plan
        assert plan.product_titles == ["Lamp 9", "Lamp 2", "Lamp 0"] and plan.total == 2 + 3

    def test_who_starts_a_run_of_very_many_products_reads_none_of_them(self, tiny, products):
        extra = [Product(sku=f"p{n}", title="x", image_sha256="0" * 64, width_px=1, height_px=1) for n in range(3000)]
        Product.objects.bulk_create(extra)
        read = []
        with connections["default"].execute_wrapper(lambda do, sql, values, many, context: read.append((sql, do(sql, values, many, context))[0])):
            run = start(Product.objects.order_by("-pk"), prompts=[build.prompt("said", text="{product} on a table")])
        assert run.total == 3004 and run.plan.products[:2] == [extra[-1].pk, extra[-2].pk] and len(run.plan.product_titles) == 3004
        assert not [sql for sql in read if sql.lstrip().startswith("SELECT") and 'FROM "generation_product"' in sql], "counted and kept by one statement"

    def test_parts_know_a_range_and_give_the_items_of_the_whole_plan(self, tiny, products):
        lamps, anything = build.prompt("lamps only", categories=["lamps", "vases"]), build.prompt("anything")
        chairs = [build.product(n, category="chairs") for n in range(10, 13)]
        run = start_generation(products=[*products, *chairs], prompts=[lamps, anything], per_pair=3, part_size=5)
        items = [item for row in run.parts.order_by("pk") for item in planned(row.params)["items"]]
        assert items == expected_items([*products, *chairs], [lamps, anything], 3) and len(items) == run.total == 3 * (4 + 7)
        assert all("items" not in row.params for row in run.parts.all())
        Product.objects.update(category="lamps")  # what was asked for does not change under way
        assert items == [item for row in run.parts.order_by("pk") for item in planned(row.params)["items"]]

    def test_a_million_pictures_are_planned_by_a_worker_in_a_thousand_small_parts(self, tiny, products):
        extra = [Product(sku=f"p{n}", title="x", image_sha256="0" * 64, width_px=1, height_px=1) for n in range(19_996)]
        Product.objects.bulk_create(extra)
        run = start_generation(products=Product.objects.all(), prompts=[build.prompt()], per_pair=50)
        first = run.parts.get()
        assert run.total == 1_000_000 and first.kind == "plan_generation"
        do(first)
        parts = run.parts.exclude(pk=first.pk)
        assert parts.count() == 1000 and sum(row.total for row in parts) == 1_000_000 and state(run) == "waiting"
        assert max(len(json.dumps(row.params)) for row in parts[:50]) < 200
        # Nobody waits for a thousand messages: the keepers send what is left.
        assert Outbox.objects.filter(run__parent=run).count() > 900

    def test_a_prompt_that_is_not_offered_keeps_the_others_from_nothing(self, tiny, products):
        old = build.prompt("old", text="on a {gone} table", is_active=False)
        run = start(products, prompts=[build.prompt(), old])
        assert Plan.objects.get(run=run).prompts == [build.prompt().pk]

    def test_unsuitable_products_are_left_out_and_counted(self, tiny, products):
        Product.objects.filter(pk=products[0].pk).update(unsuitable=True)
        run = start(Product.objects.all())
        assert run.total == 3 and Plan.objects.get(run=run).left_out == {"unsuitable": 1}
        with pytest.raises(CannotStart, match="The one chosen is unsuitable"):
            start(Product.objects.filter(unsuitable=True))


class TestWords:
    def test_what_is_edited_while_a_run_is_at_work_changes_nothing_of_what_it_asks_for(self, tiny, products):
        colour = VariableList.objects.create(name="colour", values=["sand", "sage", "slate"])
        usual = CategoryDefaults.objects.create(category="lamps", image_scale=0.7, negative_text="cables")
        walls = build.prompt("walls", text="{product}, {colour} wall", negative_text="no {category}", follows_category=True)
        plain = build.prompt("plain", text="on a table")
        gone = blobs().path(products[3].image_sha256)
        data = gone.read_bytes()
        gone.unlink()  # fails, and is tried again at the end
        run = start(products, prompts=[walls, plain], per_pair=2)
        wishes = [wish for row in run.parts.all() for wish in planned(row.params)["items"]]
        by_id = {row.pk: row for row in [*products, walls, plain]}
        said = {wish["seed"]: by_id[wish["prompt"]].words(by_id[wish["product"]], wish["seed"]) for wish in wishes}
        do(part(run, 0))
        pause_run(run)

        VariableList.objects.filter(pk=colour.pk).update(values=["red"])
        CategoryDefaults.objects.filter(pk=usual.pk).update(image_scale=0.3, negative_text="people")
        Prompt.objects.filter(pk=walls.pk).update(text="{gone} wall", image_scale=0.2, follows_category=False)
        Prompt.objects.filter(pk=plain.pk).update(text="on a {colour} table", negative_text="a cup")
        Product.objects.update(title="Renamed", category="chairs")

        resume_run(run)
        work_off(run)
        blobs().put(data)
        assert failures.retry(run) == 4
        # As after a kill in a part's last line: it runs again, and finds its pictures.
        Run.objects.filter(pk=part(run, 0).pk).update(state="queued")
        assert work_off(run).state == "succeeded"
        drawn = {row.seed: Words(row.prompt_text, row.negative_text, row.image_scale) for row in Candidate.objects.all()}
        assert drawn == said and Candidate.objects.count() == 16
        assert len({words.text for words in said.values()}) > 3 and "cables" in str(said)

    def test_many_parts_put_the_plan_in_order_once_and_a_batch_asks_once_what_is_there(self, tiny, products, monkeypatch):
        run = start(products, per_pair=4)
        sorted_out, asked = [], []
        monkeypatch.setattr(planned_again, "Chosen", lambda *values: sorted_out.append(1) or planning.Chosen(*values))
        already = working.already_drawn
        monkeypatch.setattr(working, "already_drawn", lambda *values: asked.append(1) or already(*values))
        assert work_off(run).state == "succeeded" and Candidate.objects.count() == 16
        assert len(sorted_out) == 1 and len(asked) == run.parts.count() == 4


class TestStopping:
    def test_a_run_that_is_stopped_while_it_is_planned_draws_nothing_until_it_is_resumed(self, tiny, products):
        run = start(products, per_pair=17, part_size=1)
        planning_it = run.parts.get()
        assert planning_it.kind == "plan_generation" and planning_it.claim("somebody")
        run.request_stop()
        work_on(planning_it.pk, planning_it.fence)
        assert state(run) == "stopped" and not run.parts.exclude(pk=planning_it.pk).exists()
        assert resume_run(run)
        do(run.parts.get())
        assert run.parts.filter(state="queued").count() == 68 and state(run) == "waiting"

    def test_parts_that_come_in_the_moment_of_a_stop_are_stopped_as_well(self, tiny, products):
        run = start(products, part_size=4)
        stopped = threading.Thread(target=lambda: (run.request_stop(), connections.close_all()))
        with transaction.atomic():
            Run.objects.select_for_update().get(pk=run.pk)
            stopped.start()
            wait_until(somebody_waits_for_us, every=0.02)
            add_parts(run, "generate_part", [({**part(run).params}, 4)])
        stopped.join()
        assert not run.parts.exclude(state="stopped").exists() and run.parts.count() == 2


class TestPausing:
    def test_a_paused_run_waits_wherever_it_is_and_goes_on_where_it_was(self, tiny, products):
        run = start(products, per_pair=2)
        do(part(run, 0))
        assert pause_run(run) and not pause_run(run)
        assert not part(run, 1).claim("somebody")
        assert state(run) == "paused" and not run.is_finished
        assert resume_run(run) and state(run) == "waiting"
        assert work_off(run).state == "succeeded" and Candidate.objects.count() == 8

    def test_a_paused_run_can_be_stopped(self, tiny, products):
        run = start(products, per_pair=2)
        pause_run(run)
        run.request_stop()
        assert state(run) == "stopped" and not run.parts.exclude(state="stopped").exists()


class TestBudgets:
    def test_pictures(self, tiny, products):
        run = start(products, per_pair=3, budget=Budget(images=6))
        assert work_off(run).state == "spent" and Candidate.objects.count() == 6
        assert run.is_finished and run.result["images"] == 6
        assert resume_run(run) and work_off(run).state == "spent" and Candidate.objects.count() == 6
        give_more(run, Budget(images=9))
        assert resume_run(run) and work_off(run).state == "spent" and Candidate.objects.count() == 9
        give_more(run, Budget())
        assert resume_run(run) and work_off(run).state == "succeeded" and Candidate.objects.count() == 12

    def test_what_was_drawn_before_costs_nothing_and_is_told_beside_what_was_made(self, tiny, products, people, client):
        work_off(start(products))
        run = work_off(start(products, per_pair=2, budget=Budget(images=4), part_size=3))
        assert run.state == "succeeded" and Candidate.objects.count() == 8
        assert cost_of(run) == costs_of([run])[run.pk] and (cost_of(run).images, cost_of(run).already_there) == (4, 4)
        client.force_login(people["max"])
        panel = client.get(reverse("generation-panel", args=[run.pk])).content.decode()
        assert "of 4 in the budget; 4 more were there already" in panel
        told = client.get(f"/api/v1/generation/runs/{run.pk}").json()
        assert (told["images"], told["already_there"], told["total"]) == (4, 4, 8)
        page = client.get(reverse("run", args=[run.pk])).content.decode()
        assert "<dt>Pictures of each product with each prompt</dt><dd>2</dd>" in page and "Per pair" not in page
        page = client.get(reverse("run", args=[part(run, 1).pk])).content.decode()
        assert "<dt>After picture</dt><dd>3</dd>" in page and "<dt>Plan</dt>" not in page

    def test_minutes(self, tiny, products):
        run = work_off(start(products, per_pair=3, budget=Budget(minutes=1e-6)))
        assert run.state == "spent" and Candidate.objects.count() == 4  # the batch in hand is finished

    def test_attempts_count(self, tiny, products, monkeypatch):
        """Recurrent Generation ends in the middle of its attempts."""
        from rfnet_service import judging
        from tests import data_rows

        checkpoint = data_rows.checkpoint(promoted=True)
        never = [[0.1, 0.6, 0.1, 0.1, 0.1]]
        import numpy as np

        monkeypatch.setattr(judging, "probabilities", lambda _, rows: np.array(never * len(rows)))
        run = work_off(start(products, attempts=3, budget=Budget(images=7)))
        assert run.state == "spent" and Candidate.objects.count() == 7 and checkpoint.verdicts.count() == 7
        told = {name: run.result.get(name) for name in ("draws", "images", "available", "available_by_3", "mean_attempts")}
        assert told == {"draws": 4, "images": 7, "available": 0, "available_by_3": 0, "mean_attempts": 1.75}

    def test_a_part_that_is_ended_between_two_batches_still_tells_of_its_attempts(
        self, tiny, products, monkeypatch, client, people
    ):
        """Of the draws it began: nobody knows whether the others would have become available."""
        import numpy as np

        from generation import drawing
        from rfnet_service import judging
        from tests import data_rows

        data_rows.checkpoint(promoted=True)
        monkeypatch.setattr(drawing.batches, "__defaults__", (4,))
        good = [[0.9, 0.1, 0, 0, 0]]
        monkeypatch.setattr(judging, "probabilities", lambda _, rows: np.array(good * len(rows)))
        run = work_off(start(products, attempts=2, per_pair=3, part_size=12, budget=Budget(images=4)))
        told = {name: run.result.get(name) for name in ("draws", "images", "available_by_1", "availability_at_2")}
        assert run.state == "spent" and told == {"draws": 4, "images": 4, "available_by_1": 4, "availability_at_2": 1.0}
        client.force_login(people["max"])
        html = client.get(reverse("generation-panel", args=[run.pk])).content.decode()
        assert "Available within 2 attempts</dt><dd>100 %<small>of 4 draws" in html and "Given up early" not in html
        part_alone = client.get(reverse("generation-panel", args=[part(run).pk])).content.decode()
        assert "Available within" not in part_alone, "a part has sums, from which its run makes shares"
        give_more(run, Budget(images=8))
        assert resume_run(run) and "Available within" not in client.get(reverse("generation-panel", args=[run.pk])).content.decode()


def test_an_available_picture_costs_what_the_judged_ones_took_and_those_given_up_are_none(tiny, products):
    checkpoint = data_rows.checkpoint(promoted=True)
    run = work_off(start(products, per_pair=2))
    Candidate.objects.update(seconds=2.0)
    made = list(Candidate.objects.order_by("pk"))
    assert cost_of(run).available is None
    for row, label in zip(made[:4], (0, 0, 1, 2), strict=True):
        Verdict.objects.create(candidate=row, checkpoint=checkpoint, label=label, probs=[0.2] * 5, p_available=0.2, margin=0)
    KeptFigure.objects.all().delete()
    cost = cost_of(run)
    assert (cost.available, cost.seconds_per_available) == (2, 4.0), "four of the eight are judged"
    Candidate.objects.filter(pk=made[0].pk).update(abandoned_at_step=1)
    Share.objects.update(is_closed=False, images=0, seconds=0)  # as after a kill before its last line
    KeptFigure.objects.all().delete()
    cost = cost_of(run)
    assert (cost.available, cost.seconds_per_available, cost.images, cost.seconds) == (1, 8.0, 8, 16.0)
    others = [work_off(start(products, base_seed=seed)) for seed in (1, 2)]
    Share.objects.filter(plan__run=others[0]).update(is_closed=False, images=0, seconds=0)
    told = costs_of([run, *others])
    assert told == {row.pk: cost_of(row) for row in (run, *others)}, "a list tells of each what its own page does"
    KeptFigure.objects.update(due_at=timezone.now() + timedelta(hours=1))
    with CaptureQueriesContext(connections["default"]) as few:
        costs_of(others[:1])
    with CaptureQueriesContext(connections["default"]) as many:
        costs_of([run, *others])
    assert len(many) <= len(few), "and asks no more for many than for one"


class TestFailures:
    def test_what_cannot_be_drawn_is_listed_and_the_rest_is_drawn(self, tiny, products):
        lost = blobs().path(products[1].image_sha256)
        data = lost.read_bytes()
        lost.unlink()
        run = work_off(start(products, per_pair=2))
        assert run.state == "succeeded" and Candidate.objects.count() == 6 and run.result["failed"] == 2
        assert run.state_words == "Succeeded, 2 failed" and run.share_done == 0.75
        assert {row.product for row in Failure.objects.all()} == {products[1]}
        assert "upload it again" in Failure.objects.first().problem
        blobs().put(data)
        from generation.failures import retry

        assert retry(run) == 2 and state(run) == "waiting"
        run = work_off(run)
        assert run.state_words == "Succeeded" and Candidate.objects.count() == 8 and not Failure.objects.exists()

    def test_a_part_that_is_begun_again_lists_what_fails_again_and_no_more(self, tiny, products):
        lost = blobs().path(products[0].image_sha256)
        data = lost.read_bytes()
        lost.unlink()
        run = work_off(start(products[:1]))
        assert Failure.objects.count() == 1 and run.result["failed"] == 1
        blobs().put(data)
        Run.objects.filter(pk=part(run).pk).update(state="queued")  # as after a kill in its last line
        work_off(run)
        assert Candidate.objects.count() == 1 and not Failure.objects.exists() and part(run).result["images"] == 1

    def test_a_product_that_is_deleted_under_way_is_left_out_and_said(self, tiny, products):
        run = start(products, per_pair=2)
        products[0].delete()
        assert work_off(run).state == "succeeded" and Candidate.objects.count() == 6
        said = " ".join(event.message for row in run.parts.all() for event in row.events.all())
        assert "1 of its pictures are left out: their product or prompt has been deleted" in said

    def test_words_that_the_text_encoder_does_not_read_are_named_once(self, tiny, products, people, client):
        long = build.prompt("long", text="{product} " + "on a table " * 9 + "in front of a red wall")
        run = work_off(start(products, prompts=[build.prompt(), long], part_size=2))
        told = run.events.get(level="warning").message
        assert told.startswith("The text of “long” is longer than tiny reads: “") and "red wall” has no effect" in told
        client.force_login(people["max"])
        assert "red wall” has no effect" in client.get(reverse("run", args=[run.pk])).content.decode()

    def test_a_later_attempt_that_failed_goes_on_with_its_draw(self, tiny, products, monkeypatch):
        import numpy as np

        from generation import working
        from generation.failures import retry
        from rfnet_service import judging
        from tests import data_rows

        data_rows.checkpoint(promoted=True)
        never = [[0.1, 0.6, 0.1, 0.1, 0.1]]
        monkeypatch.setattr(judging, "probabilities", lambda _, rows: np.array(never * len(rows)))
        draw_missing, broken = working.draw_missing, [products[1]]

        def breaks(ctx, items, there, early=None):
            if any(item.attempt == 2 and item.product in broken for item in items):
                raise ValueError("its picture can't be read")
            return draw_missing(ctx, items, there, early)

        monkeypatch.setattr(working, "draw_missing", breaks)
        run = work_off(start(products[:2], attempts=3))
        assert Failure.objects.get().attempt == 2 and Candidate.objects.filter(product=products[1]).count() == 1
        # What waits to be tried again counts neither as a draw nor with the attempt it has made.
        assert (run.result["draws"], run.result["images"], run.result["mean_attempts"]) == (1, 4, 3.0)
        broken.clear()
        assert retry(run) == 1 and work_off(run).state == "succeeded"
        made = Candidate.objects.filter(product=products[1]).order_by("attempt")
        assert [row.attempt for row in made] == [1, 2, 3] and len({row.draw for row in made}) == 1
        assert (run.result["draws"], run.result["mean_attempts"]) == (2, 3.0)

    def test_a_generator_that_is_not_there_fails_the_run_with_the_way_to_get_it(self, products):
        config = {"kind": "sd-controlnet", "base": "nobody/nothing-here"}
        gone = Generator.objects.create(name="gone", kind="sd-controlnet", key="gone", config=config)
        run = work_off(start(products, per_pair=3, generator=gone))
        assert run.state == "failed" and "hf download nobody/nothing-here" in run.error
        assert not Failure.objects.exists() and run.parts.filter(state="failed").count() == 1

    def test_other_weights_in_its_folder_draw_nothing_under_its_name(self, tiny, products):
        Generator.objects.filter(pk=tiny.pk).update(config={**tiny.config, "steps": 3})
        runtime.drawer.cache_clear()
        run = work_off(start(products))
        assert run.state == "failed" and "not those that it was registered with" in run.error and not Candidate.objects.exists()


def test_a_worker_killed_a_pause_in_the_middle_and_a_budget_over_two_workers(tiny, products):
    """No picture twice, none lost, and not one beyond the budget."""
    run = start(products, per_pair=12, part_size=12, budget=Budget(images=41))
    with workers(2, "heavy"):
        wait_until(lambda: Candidate.objects.count() >= 4, 180, every=0.02)  # a second later all would be there
        assert pause_run(run)
        wait_until(lambda: not run.parts.filter(state="running").exists(), 120)
        paused_at = Candidate.objects.count()
        assert paused_at < 41 and state(run) == "paused"
        resume_run(run)
        busy = wait_until(lambda: run.parts.filter(state="running").first(), 60, every=0.02)
        assert Candidate.objects.count() < 41
        os.kill(int(busy.worker.split(":")[1]), signal.SIGKILL)
        wait_until(lambda: run.refresh_from_db() or run.is_finished, 240)
    assert run.state == "spent" and Candidate.objects.count() == 41
    give_more(run, Budget())
    resume_run(run)
    assert work_off(run).state == "succeeded"
    seeds = list(Candidate.objects.values_list("seed", flat=True))
    assert sorted(seeds) == sorted(item["seed"] for item in expected_items(products, [build.prompt()], 12))


class TestWhoeverStartsIt:
    """One function behind the command line, the API, the admin and the page."""

    def test_the_command_line(self, tiny, products):
        build.prompt()
        out = StringIO()
        call_command("generate", "--category", "lamps", "--per-pair", "3", "--budget-images", "5", "--dry-run", stdout=out)
        assert out.getvalue().startswith("5 pictures") and not Run.objects.exists()
        call_command("generate", "--skus", "sku-1", "--prompts", "table", "--seed", "7", stdout=out)
        run = Run.objects.get(kind="generate")
        assert f"Run {run.pk}: Draw 1 candidate." in out.getvalue() and run.plan.products == [products[1].pk]
        numbered = build.prompt(str(build.prompt().pk), text="a prompt whose name is another's id")
        call_command("generate", "--prompts", numbered.name, stdout=out)
        assert Run.objects.filter(kind="generate").order_by("pk").last().plan.prompts == [numbered.pk]
        for wrong, sentence in (
            (["--skus", "nope"], "No product has the SKU nope"), (["--prompts", "nope"], "no prompt called nope"),
            (["--generator", "nope"], "no generator nope"), (["--prompts", "²"], "no prompt called ²"),
            (["--prompts", "9" * 30], "no prompt called 9"), (["--generator", "³"], "no generator ³"), (["--attempts", "2"], "need an RFNet in use"),
            (["--per-pair", "0"], "between 1 and"), (["--as", "nobody"], "nobody called nobody"),
            (["--category", "lamp"], "No product has the category lamp. There are: .*lamps"), (["--source", "x"], "the source x. There are: "),
            (["--early-stop", "8", "0.1"], "need an RFNet in use"),
        ):
            for told in ([], ["--dry-run"] if "--as" not in wrong else []):
                with pytest.raises(CommandError, match=sentence):
                    call_command("generate", *wrong, *told)

    def test_the_api(self, tiny, products, people, client):
        build.prompt()
        token = Token.objects.create(user=people["max"]).key

        def call(method, path, body=None, who=token):
            headers = {"Authorization": f"Token {who}"}
            return getattr(client, method)(f"/api/v1/generation/{path}", body, content_type="application/json", headers=headers)

        made = call("post", "runs", {"category": "lamps", "per_pair": 2, "budget": {"images": 3}}).json()
        address = f"runs/{made['id']}"
        assert (made["state"], made["total"], made["budget"]) == ("waiting", 8, {"images": 3, "minutes": None})
        assert call("post", f"{address}/pause", {}).json()["state"] == "paused"
        assert call("post", f"{address}/resume", {}).json()["state"] == "waiting"
        work_off(Run.objects.get(pk=made["id"]))
        told = call("get", address).json()
        assert (told["state"], told["images"], told["failed"]) == ("spent", 3, 0) and told["seconds_per_image"] > 0
        assert call("post", f"{address}/budget", {"images": 4}).json()["budget"]["images"] == 4
        assert [row["id"] for row in call("get", "runs").json()["runs"]] == [made["id"]]
        assert call("post", "runs", {"skus": ["nope"]}).json() == {"detail": "No product has the SKU nope."}
        mia = Token.objects.create(user=people["mia"]).key
        assert call("post", f"{address}/stop", {}, mia).status_code == 403
        assert call("post", "runs", {}, Token.objects.create(user=people["alice"]).key).status_code == 403

    def test_the_admin_opens_the_form_with_what_is_ticked(self, tiny, products, people, client):
        build.prompt()
        client.force_login(people["olga"])
        type(people["olga"]).objects.update(is_staff=True)
        ticked = [products[0].pk, products[2].pk]
        response = client.post(reverse("admin:generation_product_changelist"), {"action": "draw", "_selected_action": ticked})
        html = client.get(response.url).content.decode()
        assert "sku-0 sku-2" in html and "sku-1" not in html

    def test_the_runs_page_shows_the_newest_pictures_the_cost_and_what_failed(self, tiny, products, people, client, settings):
        settings.COMPUTE_PRICE = 3600
        client.force_login(people["max"])
        blobs().path(products[0].image_sha256).unlink()
        run = work_off(start(products, per_pair=2, budget=Budget(images=5), user=people["max"]))
        html = client.get(reverse("generation-panel", args=[run.pk])).content.decode()
        newest = Candidate.objects.order_by("-pk").first()
        assert html.index(f"drawn-{newest.pk}") < html.index(f"drawn-{newest.pk - 1}") and "EUR" in html
        assert "Try failed again" in html and "The budget is used up" in html
        assert ">Resume<" not in client.get(reverse("run", args=[run.pk])).content.decode()
        listed = client.get(reverse("generation-failed", args=[run.pk])).content.decode()
        assert f"{run.plan.failures.count()} ×" in listed and "Try failed again" in listed
        table = b"".join(client.get(reverse("generation-failed-table", args=[run.pk])).streaming_content).decode()
        assert table.count("\n") == 1 + run.plan.failures.count() and "sku-0,Lamp 0,table," in table
        made = Candidate.objects.count()
        same = client.post(reverse("generation-budget", args=[run.pk]), {"images": made, "minutes": ""}, follow=True)
        assert f"It has made {made} pictures already: give it more than that" in same.content.decode() and state(run) == "spent"
        client.post(reverse("generation-budget", args=[run.pk]), {"images": "", "minutes": ""})
        assert state(run) == "waiting"
        assert work_off(run).state == "succeeded" and Candidate.objects.count() == 6
        client.post(reverse("generation-retry", args=[run.pk]))
        assert state(run) == "waiting" and not Failure.objects.exists()
