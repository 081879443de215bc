from django.urls import path

from datasets_app.importing import api

urlpatterns = [
    path("", api.imports, name="api-imports"),
    path("/<int:run>", api.one, name="api-import"),
    path("/<int:run>/start", api.start_it, name="api-import-start"),
]
