//! libFuzzer feeds [`meow_fuzz::openings::statement`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::openings::statement(data);
});
