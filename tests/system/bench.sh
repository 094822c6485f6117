#!/bin/sh
# A benchmark that needs systemd, in the VM of the system tests.
#   tests/system/bench.sh modes.py [ARGUMENTS]
set -eu
cd "$(dirname "$0")/../.."
testbed=${TESTBED:-../shared/testbed/run-in-vm}
[ -x "$testbed" ] || { echo "bench.sh: no test bed at $testbed; set TESTBED to its run-in-vm" >&2; exit 1; }
.venv/bin/python -m compileall -q zygote benchmarks
script=$1
shift
exec "$testbed" --timeout "${VM_TIMEOUT:-1200}" --share-mode scratch -- .venv/bin/python "benchmarks/$script" "$@"
