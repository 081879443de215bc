from django.urls import path

from generation import prompt_api

urlpatterns = [
    path("", prompt_api.prompts, name="api-prompts"),
    path("<int:prompt_id>", prompt_api.prompt, name="api-prompt"),
]
