#!/usr/bin/env python
"""Every command of the platform. Without DATABASE_URL it starts the embedded PostgreSQL first."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if sys.argv[1:2] == ["loop"]:
        # The loop has a data folder of its own, made anew, so that it never meets what people do in ./data.
        from config.env import own_data_dir

        own_data_dir("loop")
    from config.database import DatabaseProblem, ensure_database

    try:
        ensure_database()
    except DatabaseProblem as problem:
        sys.exit(f"adproof: {problem}")
    from django.core.management import execute_from_command_line

    from config.env import BadSetting

    try:
        execute_from_command_line(sys.argv)
    except BadSetting as problem:
        sys.exit(f"adproof: {problem}")


if __name__ == "__main__":
    main()
