#!/usr/bin/env bash
# Tries mutated inputs on every target for so many seconds, with any compiler: fuzz/run.sh SECONDS [SEED [TARGET..]]
# Ends with 1 where a target panics, aborts, hangs or takes too much memory; the input is then in fuzz/found/.
set -euo pipefail
cd "$(dirname "$0")"
cargo build --quiet --bin amq-fuzz
exec "${CARGO_TARGET_DIR:-target}/debug/amq-fuzz" run "${1:?seconds}" "${2:-$(date +%s)}" "${@:3}"
