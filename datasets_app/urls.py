from django.urls import path

from datasets_app import views

urlpatterns = [
    path("", views.datasets, name="datasets"),
    path("<int:pk>/", views.dataset, name="dataset"),
    path("<int:pk>/verify/", views.dataset_verify, name="dataset_verify"),
    path("<int:pk>/write/", views.dataset_write, name="dataset_write"),
    path("<int:pk>/download/", views.dataset_download, name="dataset_download"),
]
