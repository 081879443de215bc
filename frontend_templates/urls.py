from django.urls import path

from frontend_templates import views

urlpatterns = [path("", views.home, name="home")]
