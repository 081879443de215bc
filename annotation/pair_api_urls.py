from django.urls import path

from annotation import pair_api

urlpatterns = [
    path("lease", pair_api.lease, name="pairs-lease"),
    path("preferences", pair_api.preferences, name="pairs-preferences"),
    path("renew", pair_api.renew, name="pairs-renew"),
    path("release", pair_api.release, name="pairs-release"),
    path("skip", pair_api.skip, name="pairs-skip"),
    path("undo", pair_api.undo, name="pairs-undo"),
]
