//! libFuzzer feeds [`meow_fuzz::direct::frame`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::direct::frame(data);
});
