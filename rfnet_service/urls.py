from django.urls import path

from rfnet_service import label_error_views, views

urlpatterns = [
    path("checkpoints/", views.checkpoints, name="checkpoints"),
    path("checkpoints/<int:pk>/", views.checkpoint, name="checkpoint"),
    path("checkpoints/<int:pk>/promote/", views.checkpoint_promote, name="checkpoint_promote"),
    path("checkpoints/<int:pk>/score/", views.checkpoint_score, name="checkpoint_score"),
    path("datasets/<int:pk>/label-errors/", label_error_views.suspects, name="label_errors"),
    path("datasets/<int:pk>/label-errors/start/", label_error_views.suspects_start, name="label_errors_start"),
    path("datasets/<int:pk>/label-errors/send/", label_error_views.suspects_send, name="label_errors_send"),
    path("datasets/<int:pk>/label-errors.csv", label_error_views.suspects_table, name="label_errors_table"),
]
