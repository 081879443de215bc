"""Any candidate can be made again bit for bit: drawn by a run, with batch neighbours, given up early, or after an out-of-memory."""

import numpy as np
import pytest
from django.core.management import CommandError, call_command

torch = pytest.importorskip("torch")

from adproof.diffusion.config import GeneratorConfig, key_of_config  # noqa: E402
from annotation.actions import Pick, add_tasks  # noqa: E402
from annotation.models import Project, Task  # noqa: E402
from generation import actions, planning, runtime  # noqa: E402
from generation.models import Candidate, Environment  # noqa: E402
from generation.remaking import CannotRemake, remake  # noqa: E402
from rfnet_service.actions import start_scoring, unscored  # noqa: E402
from rfnet_service.models import Checkpoint, Verdict  # noqa: E402
from tests import build, tiny_generators  # noqa: E402
from tests.data_rows import do  # noqa: E402

STEPS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_generators.save_mini(tmp_path_factory.mktemp("mini"))


@pytest.fixture
def generator(transactional_db, folder):
    config = {"kind": "mini", "base": str(folder), "steps": STEPS, "size": 128}
    row = actions.register_generator("tiny", "mini", config, key_of_config(GeneratorConfig.from_dict(config)))
    actions.put_in_use(row)
    yield row
    runtime.drawer.cache_clear()


@pytest.fixture
def judge(transactional_db):
    from adproof.rfnet.checkpoint import shipped

    return Checkpoint.objects.create(name="mini", folder=str(shipped("rfnet_init")), sha256="mini", is_promoted=True)


def draw(n, **values):
    products = [build.product(number) for number in range(n)]
    run = planning.start_generation(products=products, prompts=[build.prompt()], **values)
    for part in run.parts.order_by("pk"):
        assert do(part).state == "succeeded", part.error
    run.refresh_from_db()
    return run


def test_each_of_eight_candidates_of_a_run_is_made_again_to_the_bit(generator, capsys):
    draw(8)
    made = list(Candidate.objects.order_by("pk"))
    assert [row.batch for row in made] == [[[0, 8, place]] for place in range(8)]
    assert made[0].environment.values["torch"] == torch.__version__ and "threads" in made[0].environment.values
    assert Environment.objects.count() == 1
    for row in (made[0], made[3], made[7]):
        again = remake(row)
        assert again.equal and again.sentence == "Equal to the bit.", again.sentence
    call_command("candidate", "remake", str(made[5].pk))
    assert "Equal to the bit." in capsys.readouterr().out


def test_what_keeps_a_candidate_from_being_equal_is_said(generator):
    draw(2)
    row, other = Candidate.objects.order_by("pk")
    row.environment = Environment.of({**row.environment.values, "torch": "1.0"})
    row.image_sha256 = other.image_sha256
    row.save()
    again = remake(Candidate.objects.get(pk=row.pk))
    assert not again.equal and f"torch was 1.0, is {torch.__version__}" in again.sentence and "%" in again.sentence
    row.product.image_sha256 = other.product.image_sha256
    row.product.save()
    with pytest.raises(CannotRemake, match="another one than it was drawn from"):
        remake(Candidate.objects.get(pk=row.pk))
    generator.config = {**generator.config, "base": "/nowhere"}
    generator.save()
    runtime.drawer.cache_clear()
    with pytest.raises(CommandError, match="no model folder /nowhere"):
        call_command("candidate", "remake", str(other.pk))
    with pytest.raises(CommandError, match="no candidate 999"):
        call_command("candidate", "remake", "999")


def test_early_stop_keeps_what_it_gave_up_to_itself_and_the_rest_is_drawn_to_the_end(generator, judge, monkeypatch):
    from rfnet_service import recurrent

    real = recurrent.early_look

    def every_second_is_hopeless(*args):
        look = real(*args)
        return recurrent.EarlyLook(look.step, look.threshold, lambda *seen: look.judge(*seen) * 0 + np.arange(len(seen[0])) % 2)

    monkeypatch.setattr(recurrent, "early_look", every_second_is_hopeless)
    products = [build.product(number) for number in range(4)]
    run = planning.start_generation(products=products, prompts=[build.prompt()], base_seed=1, early_stop={"step": 2, "threshold": 0.5})
    for part in run.parts.all():
        assert do(part).state == "succeeded", part.error
    run.refresh_from_db()
    given_up, drawn = Candidate.objects.filter(abandoned_at_step=2), Candidate.objects.filter(abandoned_at_step=None)
    assert (given_up.count(), drawn.count()) == (2, 2)
    assert run.result["abandoned"] == given_up.count() and run.result["draws"] == 4
    assert run.result["passes_saved"] == 2 * given_up.count() and run.result["mean_attempts"] == 1
    assert run.result["availability_at_1"] == run.result["available"] / 4
    assert {row.saliency_model.endswith("-quick") for row in given_up} == {True} != {row.saliency_model.endswith("-quick") for row in drawn}
    for row in [*given_up, *drawn]:
        again = remake(row)
        assert again.equal, (row.batch, again.sentence)
    assert {tuple(map(tuple, row.batch))[-1][1] for row in drawn} == {drawn.count()}

    # Nobody labels what was given up, RFNet does not score it, and drawing the same to its end makes another candidate.
    project = Project.objects.create(name="all")
    assert add_tasks(project, [Pick(row.pk) for row in Candidate.objects.all()]) == drawn.count()
    assert not Task.objects.filter(candidate__in=given_up).exists()
    Verdict.objects.all().delete()
    assert set(unscored(judge).values_list("pk", flat=True)) == set(drawn.values_list("pk", flat=True))
    assert start_scoring(judge).total == drawn.count()
    draws_again = planning.start_generation(products=products, prompts=[build.prompt()], base_seed=1)
    for part in draws_again.parts.all():
        assert do(part).state == "succeeded"
    assert Candidate.objects.filter(abandoned_at_step=None).count() == 4 and Candidate.objects.count() == 4 + given_up.count()


@pytest.mark.parametrize(("values", "words"), [({"step": 0, "threshold": 0.1}, "from 1 on"), ({"step": 2, "threshold": 2}, "probability")])
def test_an_early_stop_that_cannot_be_is_refused(generator, values, words):
    with pytest.raises(planning.CannotStart, match=words):
        planning.start_generation(products=[build.product()], prompts=[build.prompt()], early_stop=values)


def test_an_early_stop_after_the_last_step_fails_the_run_in_words(generator, judge):
    run = planning.start_generation(products=[build.product()], prompts=[build.prompt()], early_stop={"step": STEPS, "threshold": 0.1})
    part = do(run.parts.get())
    assert part.state == "failed" and "name an earlier step" in part.error


def test_of_a_second_order_scheduler_passes_through_the_net_are_saved_not_its_steps(folder, judge):
    config = {"kind": "mini", "base": str(folder), "steps": STEPS, "size": 128, "scheduler": "HeunDiscreteScheduler"}
    row = actions.register_generator("heun", "mini", config, key_of_config(GeneratorConfig.from_dict(config)))
    run = draw(2, generator=row, early_stop={"step": STEPS + 1, "threshold": 1.0})
    passes = 2 * STEPS - 1
    told = {name: run.result[name] for name in ("abandoned", "passes", "passes_saved", "share_of_passes_saved")}
    saved = passes - (STEPS + 1)
    assert told == {"abandoned": 2, "passes": 2 * passes, "passes_saved": 2 * saved, "share_of_passes_saved": round(saved / passes, 4)}
