from django.urls import path

from generation import cut_out_api, product_api

urlpatterns = [
    path("", product_api.products, name="api-products"),
    path("cut-outs", cut_out_api.anew, name="api-cut-outs-anew"),
    path("cut-outs/<int:run>", cut_out_api.one, name="api-cut-outs-run"),
    path("cut-outs/<int:run>/pause", cut_out_api.pause, name="api-cut-outs-pause"),
    path("cut-outs/<int:run>/resume", cut_out_api.resume, name="api-cut-outs-resume"),
    path("cut-outs/<int:run>/stop", cut_out_api.stop, name="api-cut-outs-stop"),
    path("<int:product_id>", product_api.product, name="api-product"),
    path("<int:product_id>/flag", product_api.flag, name="api-product-flag"),
]
