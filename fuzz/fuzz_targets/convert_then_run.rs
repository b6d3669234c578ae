#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    amq_fuzz::targets::convert_then_run(bytes);
});
