"""`python -m grsap` is `grsap`."""

import sys

from grsap.search_path import leave_working_directory

leave_working_directory()  # before anything else is imported

from grsap.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
