from django.urls import path

from generation import pictures, views

urlpatterns = [
    path("pictures/<str:sha256>", pictures.picture, name="picture"),
    path("thumbnails/<int:px>/<str:sha256>", pictures.thumbnail, name="thumbnail"),
    path("products/", views.products, name="products"),
    path("products/import/", views.product_import, name="product_import"),
    path("products/<int:pk>/", views.product, name="product"),
    path("products/<int:pk>/unsuitable/", views.product_unsuitable, name="product_unsuitable"),
    path("prompts/", views.prompts, name="prompts"),
    path("prompts/new/", views.prompt_edit, name="prompt_create"),
    path("prompts/<int:pk>/", views.prompt_edit, name="prompt"),
    path("generators/", views.generators, name="generators"),
    path("generators/<int:pk>/use/", views.generator_use, name="generator_use"),
    path("candidates/", views.candidates, name="candidates"),
    path("candidates/<int:pk>/", views.candidate, name="candidate"),
    path("generate/", views.generate, name="generate"),
]
