# What the scripts of this folder share. Each says PASS, or SKIPPED with the tools that are missing, and
# ends with 1 where something is wrong.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
model=$root/fixtures/lstm/model.amq
# Tokens, and the digest that their scores must have: amq-runtime/tests/shipped.rs says how it is made.
read -r -a tokens <"$root/fixtures/lstm/stream.txt"
digest=$(sed -n 2p "$root/fixtures/lstm/stream.txt")
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

# Ends the script where a tool is missing; more words say what it is needed for.
needs() {
    command -v "$1" >/dev/null || { echo "SKIPPED ${0##*/}: no $*"; exit 0; }
}

# Takes what a program printed; its last line must be the digest.
check_digest() {
    local found
    found=$(tail -n 1)
    [ "$found" = "$digest" ] || { echo "FAILED ${0##*/}: $1 gave '$found', not '$digest'" >&2; exit 1; }
    echo "$1: $found"
}

# Finds Rust for a target, or ends the script. Sets $flags for cargo build; where only Debian's compiler is for it, the crates of
# the standard library that the other words name are compiled too.
rust_for() {
    flags=(--locked --release --target "$1")
    [ ! -d "$(rustc --print sysroot)/lib/rustlib/$1" ] || return 0
    if [ ! -x /usr/bin/rustc ] || [ ! -d /usr/lib/rustlib/src/rust/library ]; then
        echo "SKIPPED ${0##*/}: no Rust for $1 (rustup target add $1, or Debian's rustc-web and rust-web-src)"
        exit 0
    fi
    # Debian's has no linker for it beside it.
    local linker
    linker=$(find "$(rustc --print sysroot)/lib/rustlib" -name rust-lld | head -n 1)
    [ -z "$linker" ] || PATH=$(dirname "$linker"):$PATH
    export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTC_WRAPPER=$root/targets/older-rustc
    flags+=(--ignore-rust-version "-Zbuild-std=$2")
}
