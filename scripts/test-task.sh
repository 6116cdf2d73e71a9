#!/usr/bin/env bash
# Checks the running mesh as a user would, and says ok or FAIL for each check; exits non-zero where one fails. (test.sh
# tests the code; it needs no running mesh.)
set -eu

# shellcheck source=lib/settings.sh
. "$(dirname "$0")/lib/settings.sh"

run_built check "$@"
