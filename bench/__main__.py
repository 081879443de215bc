"""`python -m bench NAME [args]`: each bench prints a table and, as its last line, one JSON object."""

import pkgutil
import sys
from importlib import import_module

import bench


def main() -> None:
    modules = [module.name for module in pkgutil.iter_modules(bench.__path__) if not module.name.startswith("_")]
    # A module whose name is a keyword of Python's ends in "_".
    known = {name.rstrip("_"): name for name in modules}
    names = sorted(known)
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        sys.exit(f"usage: python -m bench NAME [--help]; NAME is one of: {', '.join(names)}")
    import_module(f"bench.{known[sys.argv[1]]}").main(sys.argv[2:])


if __name__ == "__main__":
    main()
