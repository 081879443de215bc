from django.urls import path

from datasets_app import compare_views, download_views, inspect_views, views
from datasets_app.importing import views as import_views

urlpatterns = [
    path("", views.datasets, name="datasets"),
    path("import/", import_views.imports, name="imports"),
    path("import/<int:pk>/", import_views.one, name="import"),
    path("import/<int:pk>/left-out.csv", import_views.left_out, name="import_left_out"),
    path("import/<int:pk>/start/", import_views.start_it, name="import_start"),
    path("<int:pk>/", views.dataset, name="dataset"),
    path("<int:pk>/verify/", views.dataset_verify, name="dataset_verify"),
    path("<int:pk>/write/", views.dataset_write, name="dataset_write"),
    path("<int:pk>/link/", download_views.dataset_link, name="dataset_link"),
    path("signed/<str:token>/", download_views.dataset_signed, name="dataset_signed"),
    path("<int:pk>/compare/", compare_views.choose, name="dataset_compare_choose"),
    path("<int:pk>/compare/<int:other>/", compare_views.compared, name="dataset_compare"),
    path("<int:pk>/compare/<int:other>/start/", compare_views.compare_start, name="dataset_compare_start"),
    path("<int:pk>/compare/<int:other>/counts.csv", compare_views.compare_counts, name="dataset_compare_counts"),
    path("<int:pk>/compare/<int:other>/changes.csv", compare_views.compare_rows, name="dataset_compare_rows"),
    path("<int:pk>/inspect/", inspect_views.inspect, name="dataset_inspect"),
    path("<int:pk>/inspect/start/", inspect_views.inspect_start, name="dataset_inspect_start"),
    path("<int:pk>/inspect/<str:name>.csv", inspect_views.table, name="dataset_table"),
    path("<int:pk>/card/", inspect_views.dataset_card, name="dataset_card"),
]
