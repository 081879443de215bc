"""Files that people give us, read with care: archives, tables, pictures. Nothing here writes, and nothing trusts a name."""
