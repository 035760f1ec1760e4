//! libFuzzer feeds [`meow_fuzz::mqtt::items`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::mqtt::items(data);
});
