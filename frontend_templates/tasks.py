"""No runs; what the workers' clock counts for the home page."""

from frontend_templates import numbers  # noqa: F401
