from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from config.api_docs import api_docs

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("frontend_templates.urls")),
    path("", include("accounts.urls")),
    path("", include("generation.urls")),
    path("", include("annotation.urls")),
    path("datasets/", include("datasets_app.urls")),
    path("", include("rfnet_service.urls")),
    path("", include("training.urls")),
    path("runs/", include("runs.urls")),
    path("api/v1/", include("config.api")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", api_docs, name="api-docs"),
]

handler400 = "frontend_templates.views.bad_request"
handler404 = "frontend_templates.views.not_found"
handler500 = "frontend_templates.views.broken"
