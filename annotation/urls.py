from django.urls import path

from annotation import views

urlpatterns = [
    path("desk/", views.desk, name="desk"),
    path("guidelines/", views.guidelines, name="guidelines"),
]
