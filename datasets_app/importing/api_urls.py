from django.urls import path

from datasets_app.importing import api

urlpatterns = [
    path("import", api.imports, name="api-imports"),
    path("import/<int:run>", api.one, name="api-import"),
    path("import/<int:run>/start", api.start_it, name="api-import-start"),
]
