"""The views, one module per noun; each ends with its `urlpatterns`."""
