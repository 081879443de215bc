"""Bringing products, candidates and labels in: read and checked by adproof.imports, shown before anything is written."""
