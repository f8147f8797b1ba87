import sys

from tests.posix.table import main

if __name__ == "__main__":
    sys.exit(main())
