from django.urls import path

from annotation import api

urlpatterns = [
    path("projects", api.projects, name="desk-projects"),
    path("lease", api.lease, name="desk-lease"),
    path("annotations", api.annotations, name="desk-annotations"),
    path("pictures/<str:sha256>", api.picture, name="desk-picture"),
    path("renew", api.renew, name="desk-renew"),
    path("release", api.release, name="desk-release"),
    path("undo", api.undo, name="desk-undo"),
    path("skip", api.skip, name="desk-skip"),
    path("flag", api.flag, name="desk-flag"),
    path("me", api.me, name="desk-me"),
    path("keys", api.keys, name="desk-keys"),
]
