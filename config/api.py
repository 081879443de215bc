from django.urls import include, path

urlpatterns = [
    path("desk/", include("annotation.api_urls")),
]
