//! libFuzzer feeds [`meow_fuzz::mqtt::hello`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::mqtt::hello(data);
});
