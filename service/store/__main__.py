"""python -m service.store: the command of `service.store_command`."""

import sys

from service.store_command import main

if __name__ == "__main__":
    sys.exit(main())
