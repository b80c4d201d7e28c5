"""Run `python -m service.store`; see `service.store_command`."""

import sys

from service.store_command import main

if __name__ == "__main__":
    sys.exit(main())
