#!/bin/sh
# One replica after the other, each with the image and the settings of now; the next when the one before is ready again.
set -eu
cd "$(dirname "$0")/.."
for replica in replica-1 replica-2; do
    docker compose --profile replicas up --detach --no-deps --force-recreate --wait "$replica"
done
