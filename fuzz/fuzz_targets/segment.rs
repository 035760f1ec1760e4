//! libFuzzer feeds [`meow_fuzz::segments::segment`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::segments::segment(data);
});
