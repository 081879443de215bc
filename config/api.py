from django.urls import include, path

urlpatterns = [
    path("products/", include("generation.product_api_urls")),
    path("prompts/", include("generation.prompt_api_urls")),
    path("variables/", include("generation.variable_api_urls")),
    path("generation/", include("generation.api_urls")),
    path("desk/", include("annotation.api_urls")),
    path("review/", include("annotation.review_api_urls")),
    path("datasets/", include("datasets_app.importing.api_urls")),
    path("datasets/", include("datasets_app.api_urls")),
    path("pairs/", include("annotation.pair_api_urls")),
]
