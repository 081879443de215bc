from django.urls import path

from generation import pictures, product_views, views

urlpatterns = [
    path("pictures/<str:sha256>", pictures.picture, name="picture"),
    path("thumbnails/<int:px>/<str:sha256>", pictures.thumbnail, name="thumbnail"),
    path("products/", views.products, name="products"),
    path("products/import/", views.product_import, name="product_import"),
    path("products/<int:pk>/", views.product, name="product"),
    path("products/<int:pk>/unsuitable/", views.product_unsuitable, name="product_unsuitable"),
    path("products/<int:pk>/fit/", product_views.product_fit, name="product_fit"),
    path("products/<int:pk>/edit/", product_views.product_edit, name="product_edit"),
    path("products/bulk/", product_views.products_bulk, name="products_bulk"),
    path("products/cut-outs/", product_views.cut_outs_next, name="cut_outs"),
    path("products/<int:pk>/cut-out/", product_views.cut_out, name="cut_out"),
    path("products/<int:pk>/cut-out/original/", product_views.cut_out_original, name="cut_out_original"),
    path("products/<int:pk>/cut-out/accept/", product_views.cut_out_accept, name="cut_out_accept"),
    path("products/<int:pk>/cut-out/redo/", product_views.cut_out_redo, name="cut_out_redo"),
    path("prompts/", views.prompts, name="prompts"),
    path("prompts/new/", views.prompt_edit, name="prompt_create"),
    path("prompts/<int:pk>/", views.prompt_edit, name="prompt"),
    path("generators/", views.generators, name="generators"),
    path("generators/<int:pk>/use/", views.generator_use, name="generator_use"),
    path("candidates/", views.candidates, name="candidates"),
    path("candidates/<int:pk>/", views.candidate, name="candidate"),
    path("generate/", views.generate, name="generate"),
]
