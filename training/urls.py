from django.urls import path

from training import lineage_views, views

urlpatterns = [
    path("training/", views.trainings, name="trainings"),
    path("training/start/", views.training_start, name="training_start"),
    path("training/<int:pk>/", views.training, name="training"),
    path("training/<int:pk>/stop/", views.training_stop, name="training_stop"),
    path("training/<int:pk>/resume/", views.training_resume, name="training_resume"),
    path("rounds/", views.rounds, name="rounds"),
    path("rounds/<int:number>/", views.round, name="round"),
    path("rounds/judge/", views.judge_all, name="judge_all"),
    path("datasets/<int:pk>/lineage/", lineage_views.dataset_lineage, name="dataset_lineage"),
]
