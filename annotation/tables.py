"""Tables as CSV: see config.tables."""

from config.tables import as_csv, as_csv_stream, safe

__all__ = ["as_csv", "as_csv_stream", "safe"]
