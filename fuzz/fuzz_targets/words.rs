//! libFuzzer feeds [`meow_fuzz::identity::words`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::identity::words(data);
});
