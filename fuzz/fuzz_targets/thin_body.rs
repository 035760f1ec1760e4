//! libFuzzer feeds [`meow_fuzz::messages::thin`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::messages::thin(data);
});
