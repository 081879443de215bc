from django.urls import path

from annotation import review_api

urlpatterns = [path("decisions", review_api.decisions, name="review-decisions")]
