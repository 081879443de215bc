from django.urls import path

from generation import api

urlpatterns = [
    path("runs", api.runs, name="api-generation-runs"),
    path("runs/<int:run>", api.one, name="api-generation-run"),
    path("runs/<int:run>/pause", api.pause, name="api-generation-pause"),
    path("runs/<int:run>/resume", api.resume, name="api-generation-resume"),
    path("runs/<int:run>/stop", api.stop, name="api-generation-stop"),
    path("runs/<int:run>/retry", api.retry, name="api-generation-retry"),
    path("runs/<int:run>/budget", api.budget, name="api-generation-budget"),
    path("runs/<int:run>/failures", api.failed, name="api-generation-failures"),
]
