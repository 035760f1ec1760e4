//! libFuzzer feeds [`meow_fuzz::identity::key_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::identity::key_file(data);
});
