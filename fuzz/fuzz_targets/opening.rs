//! libFuzzer feeds [`meow_fuzz::openings::opening`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::openings::opening(data);
});
