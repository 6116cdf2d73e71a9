#!/bin/sh
# cargo's RUSTC_WRAPPER while tests are built: test crates without optimization, all else as it is.
# A crate's unit tests are the crate once more. Optimized like what users run, they take longer to build than all that
# users run; like this they take a fifth, and their overflows and debug assertions panic. A panic says its line without
# debug information. What they start as processes is built like what users run. cargo's profiles cannot tell a crate from
# its tests.
set -eu

for arg in "$@"; do
    if [ "$arg" = --test ]; then
        # The last one counts.
        set -- "$@" -C opt-level=0 -C codegen-units=16 -C debuginfo=0
        break
    fi
done
exec ${RUSTC_WRAPPER_BEFORE:+"$RUSTC_WRAPPER_BEFORE"} "$@"
