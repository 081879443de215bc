from django.urls import path

from rfnet_service import views

urlpatterns = [
    path("checkpoints/", views.checkpoints, name="checkpoints"),
    path("checkpoints/<int:pk>/", views.checkpoint, name="checkpoint"),
    path("checkpoints/<int:pk>/promote/", views.checkpoint_promote, name="checkpoint_promote"),
    path("checkpoints/<int:pk>/score/", views.checkpoint_score, name="checkpoint_score"),
]
