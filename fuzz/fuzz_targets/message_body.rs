//! libFuzzer feeds [`meow_fuzz::messages::body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::messages::body(data);
});
