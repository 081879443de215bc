"""Who may do what, for every address there is: role x endpoint x method. A new endpoint needs a row here."""

import base64
import copy

import pytest
from django.db import transaction
from django.test import Client
from rest_framework.authtoken.models import Token

from accounts.roles import ABILITIES, may
from tests import build
from tests.house import House, endpoints

# name, the ability that guards it, its methods. A method may need more (POST:manage_tasks). "own=alice": the rows
# named in the house are Alice's, and others get 403 or 404 for them even if their role may do such things.
# Instead of an ability: "anybody" (strangers too), "logged-in".
TABLE = """
home                  logged-in        GET
login                 anybody          GET POST
demo_login            anybody          POST
logout                anybody          POST
profile               logged-in        GET
rotate_token          logged-in        POST
picture               logged-in        GET
thumbnail             logged-in        GET
products              see_candidates   GET
product               see_candidates   GET
product_import        edit_products    GET POST
product_unsuitable    edit_products    POST
product_fit           edit_products    POST
product_edit          edit_products    GET POST
products_draw         generate         POST
products_bulk         edit_products    POST
products_recut        edit_products    POST
cut_outs              edit_products    GET
cut_out               edit_products    GET
cut_out_original      edit_products    GET
cut-out-panel         see_runs         GET
cut_out_accept        edit_products    POST
cut_out_redo          edit_products    POST
prompts               see_candidates   GET
prompt                generate         GET POST
prompt_create         generate         GET POST
prompt_preview        generate         POST
prompt_copy           generate         POST
prompt_results        see_candidates   GET
prompt_results_table  see_candidates   GET
prompt_result         see_candidates   GET
variables             see_candidates   GET
variable              generate         GET POST
variable_create       generate         GET POST
variable_delete       generate         POST
category_defaults     generate         GET POST
generators            see_candidates   GET
generator_use         promote          POST
candidates            see_candidates   GET
candidate             see_candidates   GET
candidate-again       generate         POST
candidate-more        generate         POST
candidate-remade      see_runs         GET
candidates-send       manage_tasks     POST
generate              generate         GET POST
generation-panel      see_runs         GET
generation-failed     see_runs         GET
generation-failed-table see_runs       GET
generation-retry      generate         POST own=olga
generation-budget     generate         POST own=olga
api-generation-runs   generate         GET POST
api-generation-run    generate         GET
api-generation-pause  generate         POST own=olga
api-generation-resume generate         POST own=olga
api-generation-stop   generate         POST own=olga
api-generation-retry  generate         POST own=olga
api-generation-budget generate         POST own=olga
api-generation-failures generate       GET
desk                  label            GET
pairs                 label            GET
guidelines            label            GET
projects              see_quality      GET
project               see_quality      GET POST:manage_tasks
project_create        manage_tasks     GET POST
project_pause         manage_tasks     POST
project_ask_on        manage_tasks     POST
guidelines_edit       manage_tasks     GET POST
guidelines_version    manage_tasks     GET
guidelines_restore    manage_tasks     POST
queue                 manage_tasks     GET
queue_change          manage_tasks     POST
teams                 manage_tasks     GET
team                  manage_tasks     GET POST
team_create           manage_tasks     GET POST
team_set_free         manage_tasks     POST
team_delete           manage_tasks     POST
project_pairs         see_quality      GET POST:manage_tasks
pairs_table           see_quality      GET
gold                  manage_tasks     GET
gold_add              manage_tasks     POST
gold_upload           manage_tasks     POST
gold_take             manage_tasks     POST
gold_rate             manage_tasks     POST
gold_retire           manage_tasks     POST
labels                see_quality      GET
filter_save           see_quality      POST
filter_delete         see_quality      POST own=olga
snapshot_make         see_quality      POST
snapshot              see_quality      GET own=olga
snapshot_csv          see_quality      GET own=olga
snapshot_act          manage_tasks     POST own=olga
quality               see_quality      GET
quality-refit         see_quality      POST
quality-fit           see_quality      GET
quality-table         see_quality      GET
quality-ask-on        manage_tasks     POST
annotators            see_quality      GET
annotator             see_quality      GET
annotator-table       see_quality      GET
review                review           GET
review-history        review           GET
review-history-table  review           GET
review-candidate      review           GET
grid-new              review           GET POST
grid                  review           GET own=olga
datasets              freeze_datasets  GET POST
dataset               freeze_datasets  GET
imports               import_data      GET POST
import                import_data      GET
import_left_out       import_data      GET
import_start          import_data      POST
api-imports           import_data      GET POST
api-import            import_data      GET
api-import-start      import_data      POST
dataset_verify        freeze_datasets  POST
dataset_write         freeze_datasets  POST
dataset_link          freeze_datasets  GET
dataset_signed        anybody          GET
dataset_compare_choose freeze_datasets GET
dataset_compare       freeze_datasets  GET
dataset_compare_start freeze_datasets  POST
dataset_compare_counts freeze_datasets GET
dataset_compare_rows  freeze_datasets  GET
dataset_inspect       freeze_datasets  GET
dataset_inspect_start freeze_datasets  POST
dataset_table         freeze_datasets  GET
dataset_card          freeze_datasets  GET
dataset_lineage       freeze_datasets  GET
label_errors          freeze_datasets  GET
label_errors_start    freeze_datasets  POST
label_errors_send     freeze_datasets  POST
label_errors_table    freeze_datasets  GET
checkpoints           train            GET
checkpoint            train            GET
checkpoint_promote    promote          POST
checkpoint_score      train            POST
trainings             train            GET
training_start        train            GET POST
training              train            GET
training_stop         train            POST own=olga
training_resume       train            POST own=olga
rounds                train            GET POST
round                 train            GET
judge_all             train            POST
runs                  see_runs         GET
run                   see_runs         GET
run_log               see_runs         GET
run_metrics           see_runs         GET
run_stop              see_runs         POST own=olga
run_pause             see_runs         POST own=olga
run_resume            see_runs         POST own=olga
api-prompts           see_candidates   GET POST:generate
api-prompt            see_candidates   GET PATCH:generate
api-products          see_candidates   GET POST:edit_products
api-product           see_candidates   GET PATCH:edit_products
api-product-flag      edit_products    POST
api-cut-outs-anew     edit_products    POST
api-cut-outs-run      edit_products    GET
api-cut-outs-pause    edit_products    POST own=olga
api-cut-outs-resume   edit_products    POST own=olga
api-cut-outs-stop     edit_products    POST own=olga
api-variables         see_candidates   GET POST:generate
api-variable          see_candidates   GET PATCH:generate
api-variable-delete   generate         POST
desk-projects         label            GET
desk-lease            label            POST
desk-annotations      label            POST
desk-picture          label            GET
desk-renew            label            POST
desk-release          label            POST
desk-undo             label            POST own=alice
desk-skip             label            POST own=alice
desk-flag             label            POST own=alice
desk-me               label            GET
desk-keys             label            GET PUT POST
review-decisions      review           POST
datasets-list         freeze_datasets  GET
datasets-freeze       freeze_datasets  POST
datasets-one          freeze_datasets  GET
datasets-write        freeze_datasets  POST
datasets-verify       freeze_datasets  POST
datasets-compare      freeze_datasets  GET
datasets-samples      freeze_datasets  GET
datasets-download     freeze_datasets  GET
datasets-link         freeze_datasets  POST
pairs-lease           label            POST
pairs-preferences     label            POST
pairs-renew           label            POST
pairs-release         label            POST
pairs-skip            label            POST own=alice
pairs-undo            label            POST own=alice
schema                anybody          GET
api-docs              anybody          GET
"""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROLES = ["alice", "rita", "max", "mia", "olga"]
NOT_THEIRS = {403, 404}
NO_ROLE = "Your role can"


class Row:
    def __init__(self, line):
        self.name, self.guard, *words = line.split()
        self.owner, self.needs = "", {}
        for word in words:
            if word.startswith("own="):
                self.owner = word[4:]
            else:
                method, _, ability = word.partition(":")
                self.needs[method] = ability or self.guard


ROWS = {row.name: row for row in map(Row, TABLE.strip().splitlines())}


def guard_of(endpoint):
    """The ability that the code itself names, if it does."""
    ability = getattr(endpoint.view, "ability", None)
    for permission in getattr(getattr(endpoint.view, "cls", None), "permission_classes", ()):
        ability = getattr(permission, "ability", ability)
    return ability


def test_every_endpoint_has_a_row_here_and_is_guarded_as_it_says():
    found = {endpoint.key: endpoint for endpoint in endpoints()}
    missing, gone = set(found) - set(ROWS), set(ROWS) - set(found)
    assert not missing, f"new endpoints: add a row to TABLE for each of {sorted(missing)}"
    assert not gone, f"these endpoints are gone, or have other names: {sorted(gone)}"
    wrong = {
        name: (guard_of(endpoint), ROWS[name].guard)
        for name, endpoint in found.items()
        if ROWS[name].guard in ABILITIES and guard_of(endpoint) != ROWS[name].guard
    }
    assert not wrong, f"guarded by, expected: {wrong}"
    unguarded = {name for name, endpoint in found.items() if guard_of(endpoint) is None} - {
        name for name, row in ROWS.items() if row.guard in ("anybody", "logged-in")
    }
    assert not unguarded, f"these name no ability: {unguarded}"


def bodies(house):
    """A request by which each endpoint really does what it is there for; `{}` where a press is all it takes."""
    alice = house.people["alice"]
    answered = alice.annotations.standing().first()
    task, pair = house.held.pk, house.held_pair
    return {
        "login": {"username": "alice", "password": "a-long-password"},
        "product_unsuitable": {"reason": "cut off"},
        "api-products": {"sku": "mug-7", "title": "Mug", "picture": base64.b64encode(build.png(build.cut_out())).decode()},
        "api-product": {"category": "mugs"},
        "api-prompts": {"name": "oak", "text": "on an oak table"},
        "api-prompt": {"text": "on an oak table"},
        "api-product-flag": {"unsuitable": True, "reason": "cut off"},
        **{f"api-cut-outs-{press}": {} for press in ("anew", "pause", "resume", "stop")},
        "api-variables": {"name": "surface", "values": ["oak table"]},
        "api-variable": {"values": ["sand"]},
        "api-variable-delete": {},
        "api-generation-runs": {"newest": 1, "limit": 1},
        "api-generation-budget": {"images": 100},
        **{f"api-generation-{press}": {} for press in ("pause", "resume", "stop", "retry")},
        "project_pause": {"pause": "1"},
        "guidelines_edit": {"text": "Look twice.", "based_on": "1"},
        "guidelines_restore": {"based_on": "1"},
        "queue_change": {"rule": "constant", "priority": "2", "sure": "yes"},
        "gold_add": {"candidate": house.candidate.pk, "label": "1"},
        "gold_take": {"candidate": house.candidate.pk},
        "gold_rate": {"gold_percent": "5"},
        "gold_retire": {"retired": "1"},
        "filter_save": {"name": "Mine", "label": "1"},
        "snapshot_make": {"state": "answered"},
        "snapshot_act": {"project": house.project.pk, "priority": "2", "sure": "yes"},
        "quality-ask-on": {"most": "50"},
        "datasets-freeze": {"name": "ads", "query": {"min_agreement": 0.5}},
        "datasets-write": {"variant": "labels"},
        "datasets-verify": {"pictures": False},
        "datasets-link": {"name": "README.md"},
        "imports": {"kind": "rf1m", "path": "RF1M"},
        "api-imports": {"kind": "rf1m", "path": "RF1M"},
        "api-import-start": {},
        "desk-lease": {"project": house.project.pk, "count": 1},
        "desk-annotations": {"annotations": [{"id": "6f1c9d1e-9f0b-4a57-8f6e-0d5f3f8f2a11", "task": task, "label": 1, "seconds": 2}]},
        "desk-renew": {"tasks": [task]},
        "desk-release": {"tasks": [task]},
        "desk-undo": {"id": str(answered.pk)},
        "desk-skip": {"task": task},
        "desk-flag": {"task": task, "reason": "cut off"},
        "desk-keys": {"keys": {"skip": "x"}},
        "review-decisions": {
            "id": "6f1c9d1e-9f0b-4a57-8f6e-0d5f3f8f2a12", "candidate": house.disputed.candidate_id, "action": "confirmed",
        },
        "pairs-lease": {"project": house.taste.pk, "count": 1},
        "pairs-preferences": {
            "preferences": [{"id": "6f1c9d1e-9f0b-4a57-8f6e-0d5f3f8f2a13", "pair": pair, "choice": "tie", "seconds": 2}],
        },
        "pairs-renew": {"pairs": [pair]},
        "pairs-release": {"pairs": [pair]},
        "pairs-skip": {"pair": pair},
        "pairs-undo": {"id": str(house.preference)},
    }  # fmt: skip


# Forms that a bare press does not satisfy, and files that are not there: they say so.
SAYS_WHY = {
    "login", "product_import", "product_edit", "cut_out_redo", "variable", "variable_create", "prompt", "prompt_create", "generate", "project", "project_create", "team", "team_create", "gold_upload",
    "project_pairs", "datasets", "training_start", "rounds", "grid-new", "demo_login",
}  # fmt: skip


@pytest.fixture
def house(people):
    return House(people)


def ask(client, house, endpoint, method, body, **headers):
    """One request; whatever it changed is taken back."""
    more = {"headers": headers}
    if method in ("POST", "PUT", "PATCH"):
        more |= {"data": body} | ({"content_type": "application/json"} if endpoint.is_api else {})
    cookies = copy.deepcopy(client.cookies)
    with transaction.atomic():
        response = getattr(client, method.lower())(house.path(endpoint), **more)
        content = b"".join(response.streaming_content) if response.streaming else response.content
        transaction.set_rollback(True)
    client.cookies = cookies  # logging out is one of the endpoints
    return response, content.decode(errors="replace")


def is_login(response):
    return response.status_code == 302 and response.url.startswith("/login/?next=")


def wrong_for(person, row, method, response, text):
    """What is wrong with this answer, or nothing."""
    status = response.status_code
    if status >= 500:
        return "broke"
    ability = row.needs.get(method, row.guard)
    allowed = ability in ("anybody", "logged-in") or may(person, ability)
    if not allowed:
        return "" if status == 403 and NO_ROLE in text else "not refused"
    if method not in row.needs:
        at_login = row.name == "login" and status == 302  # whoever is logged in is sent on, whatever they send
        return "" if status == 405 or at_login else "answers a method that is not in its row"
    if is_login(response) or (status == 403 and NO_ROLE in text):
        return "refused"
    if row.owner not in ("", person.username):
        return "" if status in NOT_THEIRS else "gives what is another's"
    if row.name in SAYS_WHY and method == "POST" or row.name == "dataset_signed":
        return "" if status in (200, 302, 400, 404, 422) else "no sentence"
    return "" if status in (200, 302) else "does not work"


@pytest.mark.parametrize("name", ROLES)
def test_each_role_gets_what_the_table_says_and_nothing_else(house, people, name):
    client, person, given, wrong = Client(raise_request_exception=False), people[name], bodies(house), []
    client.force_login(person)
    for endpoint in endpoints():
        row = ROWS[endpoint.key]
        for method in METHODS if name == "olga" else row.needs:
            response, text = ask(client, house, endpoint, method, given.get(row.name, {}))
            if complaint := wrong_for(person, row, method, response, text):
                wrong.append(f"{method} {row.name}: {complaint} ({response.status_code} {text[:120] if len(text) < 400 else ''})")
    assert not wrong, "\n".join(wrong)


def refused_to_strangers(house, client, **headers):
    given, wrong = bodies(house), []
    for endpoint in endpoints():
        row = ROWS[endpoint.key]
        if row.guard == "anybody":
            continue
        for method in METHODS:
            response, _ = ask(client, house, endpoint, method, given.get(row.name, {}), **headers)
            refused = response.status_code == 401 if endpoint.is_api else is_login(response)
            if not refused:
                wrong.append(f"{method} {row.name}: {response.status_code}")
    return wrong


def test_strangers_get_the_log_in_page_or_401(house):
    assert refused_to_strangers(house, Client(raise_request_exception=False)) == []


def test_a_made_up_token_opens_nothing(house):
    client = Client(raise_request_exception=False)
    for token in ("0" * 40, "", "x\x00y".encode("unicode_escape").decode(), "é"):
        assert refused_to_strangers(house, client, Authorization=f"Token {token}") == []


def test_who_was_shut_out_is_a_stranger_with_their_old_session_and_token(house, people):
    olga, client = people["olga"], Client(raise_request_exception=False)
    client.force_login(olga)
    token = Token.objects.create(user=olga).key
    olga.is_active = False
    olga.save()
    assert refused_to_strangers(house, client) == []
    assert refused_to_strangers(house, Client(raise_request_exception=False), Authorization=f"Token {token}") == []


@pytest.mark.parametrize("name", ROLES)
def test_a_token_gives_the_same_as_a_session(house, people, name):
    client, person, given, wrong = Client(raise_request_exception=False), people[name], bodies(house), []
    token = Token.objects.create(user=person).key
    for endpoint in endpoints():
        row = ROWS[endpoint.key]
        if not endpoint.is_api:
            continue
        for method in METHODS:
            response, text = ask(client, house, endpoint, method, given.get(row.name, {}), Authorization=f"Token {token}")
            if complaint := wrong_for(person, row, method, response, text):
                wrong.append(f"{method} {row.name}: {complaint} ({response.status_code} {text[:200]})")
    assert not wrong, "\n".join(wrong)


def test_a_token_opens_no_page(house, people):
    """Pages take sessions only: a token in a script can't press buttons."""
    token = Token.objects.create(user=people["olga"]).key
    client, opened = Client(raise_request_exception=False), []
    for endpoint in endpoints():
        row = ROWS[endpoint.key]
        if not endpoint.is_api and row.guard != "anybody":
            response, _ = ask(client, house, endpoint, "GET", {}, Authorization=f"Token {token}")
            opened += [] if is_login(response) else [row.name]
    assert opened == []


@pytest.mark.parametrize("name", [*ROLES, None])
def test_the_admin_is_for_operators_made_staff(people, name):
    from django.urls import reverse

    client = Client()
    if name:
        client.force_login(people[name])
    for address in ("admin:index", "admin:accounts_user_changelist", "admin:annotation_annotation_changelist"):
        response = client.get(reverse(address))
        assert response.status_code == 302 and "/admin/login/" in response.url, address
