from django.urls import path

from generation import product_api

urlpatterns = [
    path("", product_api.products, name="api-products"),
    path("<int:product_id>", product_api.product, name="api-product"),
    path("<int:product_id>/flag", product_api.flag, name="api-product-flag"),
]
