from django.urls import path

from runs import views

urlpatterns = [
    path("", views.runs, name="runs"),
    path("<int:pk>/", views.run, name="run"),
    path("<int:pk>/log/", views.log_tail, name="run_log"),
    path("<int:pk>/metrics.json", views.metrics, name="run_metrics"),
    path("<int:pk>/stop/", views.stop, name="run_stop"),
    path("<int:pk>/pause/", views.pause, name="run_pause"),
    path("<int:pk>/resume/", views.resume, name="run_resume"),
]
