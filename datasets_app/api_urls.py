from django.urls import path

from datasets_app import api

urlpatterns = [
    path("", api.listed, name="datasets-list"),
    path("freeze", api.freeze, name="datasets-freeze"),
    path("<int:version>", api.one, name="datasets-one"),
    path("<int:version>/write", api.write, name="datasets-write"),
    path("<int:version>/verify", api.verify, name="datasets-verify"),
    path("<int:version>/compare/<int:other>", api.compared, name="datasets-compare"),
    path("<int:version>/samples", api.samples, name="datasets-samples"),
    path("<int:version>/download", api.download, name="datasets-download"),
    path("<int:version>/link", api.link, name="datasets-link"),
]
