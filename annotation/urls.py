from django.urls import path

from annotation import views

urlpatterns = [
    path("desk/", views.desk, name="desk"),
    path("guidelines/", views.guidelines, name="guidelines"),
    path("quality/", views.quality_page, name="quality"),
    path("quality/refit/", views.refit, name="quality-refit"),
    path("quality/fit/", views.fit_status, name="quality-fit"),
    path("quality/<str:name>.csv", views.quality_table, name="quality-table"),
]
