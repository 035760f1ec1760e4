//! libFuzzer feeds [`meow_fuzz::direct::hello`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::direct::hello(data);
});
