//! libFuzzer feeds [`meow_fuzz::direct::link`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::direct::link(data);
});
