from django.urls import path

from generation import variable_api

urlpatterns = [
    path("", variable_api.variables, name="api-variables"),
    path("<int:variable_id>", variable_api.variable, name="api-variable"),
    path("<int:variable_id>/delete", variable_api.delete, name="api-variable-delete"),
]
