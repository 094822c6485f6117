#!/bin/sh
# The tests that need cgroup v2 and systemd, in a small VM: started once for all of them.
#   tests/system/run.sh [PYTEST ARGUMENTS]
#   LONG=1 tests/system/run.sh    those that take their time as well (`make test-system`)
#   RESULTS=FILE                  what came of each, with versions, is written there
#   VM_TIMEOUT=600                seconds for all, boot included; two minutes before, no further test
#                                 begins, and the results say which were not reached
# The VM is the test bed's run-in-vm: $TESTBED, or ../shared/testbed/run-in-vm beside the checkout.
# Exit code: pytest's. Where there is no VM to be had it says why and ends with 0; with REQUIRE_VM=1
# that is an error.
set -u
cd "$(dirname "$0")/../.."
testbed=${TESTBED:-../shared/testbed/run-in-vm}

cannot() {
    echo "system tests NOT RUN: $1" >&2
    echo "  (they would try: limits, OOM, cgroup.kill, adoption and the systemd unit, for real)" >&2
    [ "${REQUIRE_VM:-0}" = 0 ] || exit 1
    exit 0
}

[ -x "$testbed" ] || cannot "no test bed at $testbed; set TESTBED to its run-in-vm"
[ "$(id -u)" = 0 ] || cannot "the VM reads the machine's files as root, and this is uid $(id -u)"
[ "$(uname -m)" = x86_64 ] || cannot "the VM's kernel is for x86-64, this is $(uname -m)"
command -v apt-get >/dev/null || cannot "the VM comes from Debian packages, and there is no apt-get"
[ -x .venv/bin/python ] || cannot "no .venv here; run: make setup"

# The test bed asks apt for the kernel's newest name; a new machine's lists may not hold it yet.
apt-cache show linux-image-6.12-cloud-amd64 >/dev/null 2>&1 || apt-get -q update >/dev/null 2>&1

# Compiled here once: compiling is slow in the VM, whose writes are dropped.
.venv/bin/python -m compileall -q zygote decnet tests

# The exit code alone cannot tell a VM that never came up from tests that failed in it: the first line
# that the guest prints can.
output=$(mktemp)
trap 'rm -f "$output"' EXIT
limit=${VM_TIMEOUT:-600}
which="vm and not long"
if [ "${LONG:-0}" != 0 ]; then
    which=vm
else
    echo "in the VM: the short tests only; make test-system runs all (units per worker, install)" >&2
fi
{
    "$testbed" --timeout "$limit" --share-mode scratch --env SYSTEM_RESULTS=1 -- sh -c 'echo "in the VM: $(uname -sr)"; exec "$@"' vm \
        .venv/bin/python -m pytest -q -m "$which" -p no:cacheprovider --timeout 600 \
        --session-timeout "$((limit - 120))" tests/system "$@"
    echo $? >"$output.status"
} | tee "$output"
status=$(cat "$output.status")
rm -f "$output.status"
grep -q '^in the VM: ' "$output" || [ "$status" -eq 0 ] || cannot "the VM did not start (see above)"
[ -z "${RESULTS:-}" ] || ! grep -q '^<!-- end -->' "$output" ||
    sed -n '/^# System tests$/,/^<!-- end -->$/p' "$output" >"$RESULTS"
exit "$status"
