from django.urls import path

from datasets_app.importing import api

urlpatterns = [
    path("", api.imports, name="api-imports"),
    path("/<int:pk>", api.one, name="api-import"),
    path("/<int:pk>/start", api.start_it, name="api-import-start"),
]
