from django.urls import path

from generation import pictures

urlpatterns = [
    path("pictures/<str:sha256>", pictures.picture, name="picture"),
    path("thumbnails/<int:px>/<str:sha256>", pictures.thumbnail, name="thumbnail"),
]
