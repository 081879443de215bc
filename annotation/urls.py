from django.urls import path

from annotation import browse_views, grid_views, manage_views, review_views, views

urlpatterns = [
    path("desk/", views.desk, name="desk"),
    path("guidelines/", views.guidelines, name="guidelines"),
    path("projects/", manage_views.projects, name="projects"),
    path("projects/new/", manage_views.project_create, name="project_create"),
    path("projects/<int:pk>/", manage_views.project, name="project"),
    path("projects/<int:pk>/pause/", manage_views.project_pause, name="project_pause"),
    path("projects/<int:pk>/ask-on/", manage_views.project_ask_on, name="project_ask_on"),
    path("labels/", browse_views.labels, name="labels"),
    path("labels/filters/", browse_views.filter_save, name="filter_save"),
    path("labels/filters/<int:pk>/delete/", browse_views.filter_delete, name="filter_delete"),
    path("labels/snapshots/", browse_views.snapshot_make, name="snapshot_make"),
    path("labels/snapshots/<int:pk>/", browse_views.snapshot, name="snapshot"),
    path("labels/snapshots/<int:pk>/candidates.csv", browse_views.snapshot_csv, name="snapshot_csv"),
    path("labels/snapshots/<int:pk>/<str:action>/", browse_views.snapshot_act, name="snapshot_act"),
    path("quality/", views.quality_page, name="quality"),
    path("quality/refit/", views.refit, name="quality-refit"),
    path("quality/fit/", views.fit_status, name="quality-fit"),
    path("quality/<str:name>.csv", views.quality_table, name="quality-table"),
    path("review/", review_views.disputed, name="review"),
    path("review/history/", review_views.history, name="review-history"),
    path("review/history.csv", review_views.history_table, name="review-history-table"),
    path("review/<int:candidate>/", review_views.one, name="review-candidate"),
    path("grid/", grid_views.new, name="grid-new"),
    path("grid/<int:pk>/", grid_views.grid, name="grid"),
]
